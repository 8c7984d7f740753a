"""Write a variant of the miniature world: text, counts, minimal pairs and facts."""

from pathlib import Path

from kn_thesis.errors import logged

with logged(snakemake.log[0], snakemake.input):
    from kn_thesis.corpora.world import WorldSettings, make_world
    from kn_thesis.corpora.world_files import write_world

    world = make_world(Path(snakemake.input.resources[0]).parent, WorldSettings(**snakemake.params.settings))
    write_world(world, Path(snakemake.output.text).parent)
    print(f"{len(world.text)} sentences, {sum(map(len, world.pairs.values()))} pairs, {len(world.relations)} relations")
