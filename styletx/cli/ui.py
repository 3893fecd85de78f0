"""`styletx ui`: a page in the browser, and the same program over HTTP."""

from __future__ import annotations

import secrets
import signal

import click

from styletx.cli import flags, signals, terminal
from styletx.errors import OptionError, field


@click.command(cls=flags.GroupedCommand)
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=7860,
    show_default=True,
    metavar="N",
    help="Port to listen on; 0 takes any that is free.",
)
@click.option("--open/--no-open", "is_opened", default=True, help="Show the page in the browser, or do not.")
@click.option(
    "--token",
    metavar="TEXT",
    help="What others must know to get in; made and shown if the host is not this machine alone.",
)
@click.option("--allow-models", is_flag=True, help="Let trained styles be sent too, as .safetensors files.")
@flags.option_flags("device", "precision")
def command(
    host: str, port: int, is_opened: bool, token: str | None, allow_models: bool, device: str, precision: str
) -> None:
    """Open a page on which photographs are repainted, here or, with --host, from other machines too."""
    from styletx import devices, web

    devices.choose(device)
    address = web.Address(host, port, token)
    if token is not None and len(token) < 8:
        raise OptionError(f"{field('token')} is too short to keep anyone out; give 8 characters or more")
    if token is None and not address.is_loopback:
        address = web.Address(host, port, secrets.token_urlsafe(web.TOKEN_BYTES))
    try:
        web.serve(
            address,
            flags.command,
            {"device": device, "precision": precision},
            allow_models=allow_models,
            is_opened=is_opened,
            ready=_tell,
        )
    except KeyboardInterrupt:  # which is how it ends
        raise click.exceptions.Exit(signals.Stop(signal.SIGINT).code) from None


def _tell(url: str, elsewhere: str | None) -> None:
    there = f", from other machines at {elsewhere}" if elsewhere else ""
    terminal.say(f"styletx paints at {url}{there} (Ctrl-C ends it)", aside=True)
