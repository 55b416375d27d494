"""`bench export RUN --to DIR`: weights that others can load, checked by answering the test anew."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.errors import RequestError
from bench.judge.compare import to_data
from bench.render.text import verification as verify_text
from bench.render.text.verification import verified
from bench.serve.exported import convert
from bench.verbs import Output, run_options
from bench.verbs.options import whole


def configure(parser: argparse.ArgumentParser) -> None:
    """The run, the folder, and in which form."""
    parser.add_argument("run", metavar="RUN", help=run_options.RUN)
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument(
        "--merge",
        nargs="?",
        const="auto",
        choices=["auto", "bf16", "fp16", "fp32"],
        help="add the adapter to its base; in the type that the run computed in (auto), or another",
    )
    parser.add_argument(
        "--gguf",
        nargs="?",
        const="auto",
        choices=convert.TYPES,
        help="one GGUF file of the merged weights, by your llama.cpp; in their type (auto), or another",
    )
    found = f"a checkout of llama.cpp, for --gguf (default: the variable {convert.VARIABLE}, then PATH)"
    parser.add_argument("--llama-cpp", type=Path, metavar="DIR", help=found)
    parser.add_argument(
        "--sample", type=whole(1), metavar="N", help="answer so many test questions anew (default: all)"
    )
    parser.add_argument("--push", metavar="REPO", help="also to the hub, if the answers hold; OWNER/NAME")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--with-record", action="store_true", help="push the test questions and answers too")
    page = (
        "a Hugging Face Space that answers with the merged weights: README.md, app.py, ..., in a new folder"
    )
    parser.add_argument("--space", type=Path, metavar="DIR", help=page)
    forced = "push although the answers do not hold; write a GGUF file that nobody can verify"
    parser.add_argument("--force", action="store_true", help=forced)
    run_options.configure(parser)


def execute(args: argparse.Namespace) -> Output:
    """Export, verify, push; exit 1 where the answers do not hold. Raises `RequestError`, `RecordError`."""
    if args.push is not None and args.push.count("/") != 1:
        raise RequestError(f"--push {args.push}: expected OWNER/NAME")
    conversion = None
    if args.gguf and args.space:
        raise RequestError("--space: answers with safetensors; write it by a command without --gguf")
    if args.gguf:
        conversion = convert.Conversion(convert.find(args.llama_cpp), args.gguf, args.force)
    stored = run_options.stored(args.run, args)
    if args.space:
        from bench.serve.pages import space

        space.check(args.space, stored, args.merge is not None)
    run_options.prepare(stored)
    from bench.serve.export import export  # here: it loads torch

    done = export(stored, args.to, args.merge, args.sample, args.base, run_options.progress, conversion)
    result = done.verification
    lines = [verify_text.terminal(result), "", f"written: {args.to}"]
    data = {**to_data(result), "reproduces": result.reproduces, "written": str(args.to)}
    holds = result.reproduces
    if args.push:
        if holds or args.force:
            data["pushed"] = _push(args)
            lines.append(f"pushed: {data['pushed']}")
        else:
            lines.append(
                f"not pushed to {args.push}: the answers are not those that were scored; --force pushes"
            )
    if args.space and not (holds or args.force):
        lines.append(f"{args.space} not written: answers are not those that were scored; --force writes it")
    elif args.space:
        space.write(args.space, stored, args.to, args.push if "pushed" in data else None, verified(result))
        data["space"] = str(args.space)
        lines.append(f"written: {args.space}; try it: cd {args.space} && pip install gradio && python app.py")
    return Output("\n".join(lines), data, 0 if holds else 1)


def _push(args: argparse.Namespace) -> str:
    from bench.serve.export import push

    return push(args.to, args.push, args.private, args.with_record)
