"""The command `asi-evolve`. Each subcommand imports what it needs when it runs: `serve` has to start in a second."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..evolution.errors import EvolveError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit status."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except (EvolveError, OSError) as error:
        print(f"asi-evolve: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="asi-evolve",
        description="Evolve programs by experiment, driven by a coding agent over MCP.",
        epilog="Every setting can also be given as an environment variable ASI_EVOLVE_*; see docs/settings.md.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    workspace = argparse.ArgumentParser(add_help=False)
    workspace.add_argument(
        "--workspace", type=Path, dest="home", metavar="FOLDER", help="workspace folder (else ASI_EVOLVE_HOME)"
    )

    serve = commands.add_parser("serve", parents=[workspace], help="run the MCP server")
    serve.add_argument("--transport", choices=("stdio", "http"), help="default: stdio")
    serve.add_argument("--host", dest="http_host", help="HTTP: address to listen on; default 127.0.0.1")
    serve.add_argument("--port", type=int, dest="http_port", help="HTTP: port to listen on; default 8321")
    serve.set_defaults(run=_serve)

    demo = commands.add_parser("demo", help="play a campaign on circle packing with a scripted agent")
    demo.add_argument(
        "--workspace",
        type=Path,
        dest="home",
        metavar="FOLDER",
        help="workspace to play in; default: one that is removed",
    )
    demo.add_argument("--output", type=Path, default=Path("demo-output"), help="where pictures go; default demo-output")
    demo.set_defaults(run=_demo)

    engineer = commands.add_parser(
        "engineer", parents=[workspace], help="run the engineer daemon (servers start it themselves)"
    )
    engineer.add_argument(
        "--cpu-slots", type=int, dest="cpu_slots", metavar="N", help="CPU slots; default: number of CPUs"
    )
    engineer.add_argument("--gpus", help="auto, none, or device numbers such as 0,1")
    engineer.add_argument(
        "--idle-seconds",
        type=float,
        dest="idle_seconds",
        metavar="S",
        help="end after so long without work; default 600",
    )
    engineer.add_argument(
        "--sandbox-minimum",
        choices=("bwrap", "userns", "landlock", "unconfined"),
        dest="sandbox_minimum",
        help="the weakest sandbox that experiments may run in; default landlock",
    )
    engineer.set_defaults(run=_engineer)

    doctor = commands.add_parser("doctor", parents=[workspace], help="check what this machine can do")
    doctor.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")
    doctor.set_defaults(run=_doctor)

    fetch = commands.add_parser("fetch-model", help="fetch the weights that search by meaning goes by")
    fetch.set_defaults(run=_fetch_model)

    check = commands.add_parser(
        "check-domain", help="run a domain's baseline, then see that its evaluator scores nothing malformed"
    )
    check.add_argument("path", help="a domain folder, or the name of a domain")
    check.add_argument("--python", help="interpreter to run it under (else ASI_EVOLVE_PYTHON, else this one)")
    check.add_argument("--stage", help="stage to run at; default: the first")
    check.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")
    check.set_defaults(run=_check_domain)

    listing = commands.add_parser("campaigns", parents=[workspace], help="list the campaigns of a workspace")
    listing.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")
    listing.set_defaults(run=_campaigns)

    export = commands.add_parser(
        "export", parents=[workspace], help="write a campaign to a folder, or a program for another trainer"
    )
    export.add_argument("what", metavar="ID", help="campaign id, such as c1; with --for a node id, such as n42")
    export.add_argument("folder", type=Path, nargs="?", help="a folder that does not exist yet; with --for n42-TARGET")
    export.add_argument(
        "--for", dest="target", metavar="TARGET", help="what the node's domain exports for, such as verl"
    )
    export.set_defaults(run=_export)

    compare = commands.add_parser(
        "compare", parents=[workspace], help="draw score against round of several campaigns, with bands"
    )
    compare.add_argument("campaigns", nargs="+", metavar="CAMPAIGN", help="campaign ids, such as c1 c2 c3")
    compare.add_argument(
        "--output", type=Path, default=Path("compare.svg"), metavar="FILE", help="the drawing; default compare.svg"
    )
    compare.add_argument("--stage", help="stage whose scores are compared; default: where most nodes stand")
    compare.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")
    compare.set_defaults(run=_compare)
    knowledge = commands.add_parser("cognition", help="write cognition items to a YAML file, or store those of one")
    directions = knowledge.add_subparsers(required=True, metavar="export|import")
    for name, does in {
        "export": "write items to a new file",
        "import": "store the items of a file, all or none",
    }.items():
        direction = directions.add_parser(name, parents=[workspace], help=does)
        direction.add_argument("--domain", metavar="NAME", help="items of this domain; default: those for every domain")
        direction.add_argument("file", type=Path, help="YAML, in the form of a domain's cognition.yaml")
        direction.set_defaults(run=_cognition, direction=name)

    verify = commands.add_parser(
        "verify", parents=[workspace], help="judge the stored outputs of a node again and say whether its score stands"
    )
    verify.add_argument("node", help="node id, such as n42")
    verify.add_argument("--rerun", action="store_true", help="run the candidate again too, with the same seeds")
    verify.add_argument("--json", action="store_true", dest="as_json", help="machine-readable")
    verify.set_defaults(run=_verify)

    commands.add_parser("version", help="print the version").set_defaults(run=_version)
    return parser


def _settings(options: argparse.Namespace) -> Any:
    """Settings from the environment, overridden by what the command line gives."""
    from pydantic import ValidationError

    from .settings import Settings

    given = {
        name: value for name, value in vars(options).items() if name in Settings.model_fields and value is not None
    }
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [
            f"{'ASI_EVOLVE_' + str(problem['loc'][0]).upper() if problem['loc'] else 'settings'}: "
            + problem["msg"].removeprefix("Value error, ")
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise EvolveError("\n".join(problems)) from error
    except RuntimeError as error:  # a user without a home
        raise EvolveError(f"ASI_EVOLVE_HOME: expected a folder for the workspace, since {error}") from error


def _serve(options: argparse.Namespace) -> int:
    from .serve import run_server

    return run_server(_settings(options))


def _demo(options: argparse.Namespace) -> int:
    from .demo.play import play

    return asyncio.run(play(options.home, options.output))


def _engineer(options: argparse.Namespace) -> int:
    from .daemon import run_engineer

    return run_engineer(_settings(options))


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import examine
    from .findings import print_findings

    findings = examine(_settings(options))
    if options.as_json:
        print(json.dumps([finding.as_fields() for finding in findings], indent=1))
    else:
        print_findings(findings)
    return 1 if any(finding.blocks for finding in findings) else 0


def _fetch_model(_: argparse.Namespace) -> int:
    from .fetch_model import fetch_model

    return fetch_model()


def _check_domain(options: argparse.Namespace) -> int:
    from .domain_report import report

    return report(_settings(options), options.path, options.stage, as_json=options.as_json)


def _campaigns(options: argparse.Namespace) -> int:
    from .export import list_campaigns

    return asyncio.run(list_campaigns(_settings(options).home, as_json=options.as_json))


def _export(options: argparse.Namespace) -> int:
    from ..evolution.errors import BadInput
    from .export import export_campaign
    from .export_for import export_for

    home = _settings(options).home
    if options.target is not None:
        return asyncio.run(export_for(home, options.what, options.target, options.folder))
    if options.folder is None:
        raise BadInput("Expected a folder that the campaign is written to, but got none. Name one that does not exist.")
    return asyncio.run(export_campaign(home, options.what, options.folder))


def _compare(options: argparse.Namespace) -> int:
    from .comparison import compare_campaigns

    return asyncio.run(
        compare_campaigns(
            _settings(options).home, options.campaigns, options.output, options.stage, as_json=options.as_json
        )
    )


def _cognition(options: argparse.Namespace) -> int:
    from .cognition_files import export_items, import_items

    run = export_items if options.direction == "export" else import_items
    return asyncio.run(run(_settings(options).home, options.file, options.domain))


def _verify(options: argparse.Namespace) -> int:
    from .verify import verify_node

    try:
        return asyncio.run(verify_node(_settings(options), options.node, rerun=options.rerun, as_json=options.as_json))
    except asyncio.CancelledError:  # interrupted
        return 130


def _version(_: argparse.Namespace) -> int:
    print(f"asi-evolve-mcp {version('asi-evolve-mcp')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
