"""Models that the tests of `kn_thesis.edit` share; a file with fixtures of these names uses its own."""

from __future__ import annotations

import pytest

from kn_thesis.models.load import Model
from tests.helpers.edit_models import CAUSAL, Models, edited_models
from tests.helpers.tiny_models import DETAILED


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    return edited_models(tmp_path_factory.mktemp("edited"))


@pytest.fixture(params=DETAILED)
def model(request: pytest.FixtureRequest, models: Models) -> Model:
    return models(request.param)


@pytest.fixture(params=CAUSAL)
def causal(request: pytest.FixtureRequest, models: Models) -> Model:
    return models(request.param)


@pytest.fixture
def gpt2(models: Models) -> Model:
    return models("gpt2")
