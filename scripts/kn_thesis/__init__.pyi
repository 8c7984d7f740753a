from kn_thesis.errors import UserError as UserError
from kn_thesis.localization.attribution import attribute as attribute
from kn_thesis.localization.results import Attribution as Attribution
from kn_thesis.localization.selection import select_neurons as select_neurons
from kn_thesis.models.load import load_model as load_model
from kn_thesis.suppression.library import suppress as suppress
from kn_thesis.tracing.library import Trace as Trace
from kn_thesis.tracing.library import trace as trace
