"""Rule make_world: write a variant of the miniature world: text, counts, minimal pairs and facts."""

from pathlib import Path

from kn_thesis.joblog import logged

with logged(snakemake.log[0], snakemake.input):
    from kn_thesis.corpora.world.build import WorldSettings, make_world, write_world

    world = make_world(Path(snakemake.input.resources[0]).parent, WorldSettings(**snakemake.params.settings))
    write_world(world, Path(snakemake.output.text).parent)
    print(f"{len(world.text)} sentences, {sum(map(len, world.pairs.values()))} pairs, {len(world.relations)} relations")
