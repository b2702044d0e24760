"""The command that opens a network as a page: its matrices to point at, to zoom into, to change and to train."""

from __future__ import annotations

import tempfile
import webbrowser
from pathlib import Path

import click

from simulator.cli.alone import stem
from simulator.cli.common import CatalogOptions, build_options, planned_network, the_catalog, title_of
from simulator.cli.completion import layers_of_net, nets
from simulator.cli.grammar import examples, output_option, samples_option
from simulator.cli.sample import chosen_data, sample_options
from simulator.cli.steps import ALL, free, next_command, say_next

__all__ = ["command"]


@click.command(
    "explore",
    epilog=examples("simulator explore lenet5 --no-browser", "simulator explore lenet5 --output lenet5.html"),
)
@click.argument("net", default="lenet5", shell_complete=nets)
@samples_option("How many samples the page holds, from --sample on.", 60)
@click.option(
    "--layer",
    metavar="NAME",
    shell_complete=layers_of_net,
    help="The layer that the page opens with.  [default: the first with weights]",
)
@output_option("Write the page into this .html file, and open no browser.  [default: a temporary file]", ("html",))
@click.option("--no-browser", is_flag=True, help="Print the link, and open no browser.")
@sample_options()
@build_options
@CatalogOptions.decorate
def command(net, samples, layer, output, no_browser, data, sample, **build):
    """Open a network as a page in the browser.

    NET is the name of an architecture or a saved network. The page is one file that needs neither Python nor a network:
    point at a unit, and its row of the matrix and what it reads are framed; pin a weight, and every use of it lights
    up; draw an input, change a weight, train by gradient descent.
    """
    from simulator.cli.terminal import error_console
    from simulator.explorer import check_page, explore

    catalog = the_catalog()
    with error_console().status("Making the page ..."):
        planned = planned_network(catalog, net, engine=catalog.engine("blas"), **build)
        check_page(planned.saved.network)
        drawn = planned.checked(lambda network: network.check_batch(samples, keep_all=True))
        chosen = chosen_data(catalog, planned.saved, data)
        chosen.sample(sample)  # or an error
        saved = drawn()
        alone = "layer" in saved.info
        page = explore(
            saved.network,
            chosen.data.inputs if alone else chosen.data,
            sample=sample,
            samples=samples,
            layer=layer,
            title=title_of(net, saved),
            dark=bool(click.get_current_context().meta.get("simulator.dark")),
        )
        path = page.save(output or Path(tempfile.mkdtemp(prefix="simulator-")) / f"{stem(net)}.html")
    link = path.resolve().as_uri()
    if output is None and not no_browser and webbrowser.open(link):
        click.echo(f"Opened {link}")
    else:
        click.echo(f"Wrote {path}, {len(page.html) / 1000:,.0f} kB; open {link}")
    if saved.untrained and not alone:
        say_next(next_command("train", net, keep=ALL, add={"--save": free("net.safetensors")}), "to explore it trained")
