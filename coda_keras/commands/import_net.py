"""Makes a .keras file of weights that others published, and the way back.

    coda-keras import authors 9L-S-CoDA-SQ-1000 --out net.keras

fetches the net that the paper's authors published under that name, reads it without torch, and
writes net.keras, which all commands take, and its card net.json: source, terms, temperature and
class names. You can also give a file that you have downloaded:

    coda-keras import authors model_epoch_200.pkl --name 9L-S-CoDA-SQ-1000 --out net.keras

It is a state dict of `torch.save`, of which tensors are read and nothing is run. Back again, for
the authors' code:

    coda-keras import authors net.keras --to-torch model.pkl

B-cos networks for ImageNet, such as resnet_50, densenet_121_long or simple_vit_s_patch16_224:

    coda-keras import bcos resnet_50 --out net.keras
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coda_keras.importing import published
from coda_keras.importing.catalogue import FAMILIES, Family, temperature
from coda_keras.utils.command_line import Parser, check_new, command, positive_number
from coda_keras.utils.files import replacing, write_json

if TYPE_CHECKING:
    from coda_keras.models.coda_net import CoDANet


@command
def main(arguments: Sequence[str] | None = None, prog: str | None = None) -> None:
    args = parse(arguments, prog)
    written = [args.to_torch] if args.to_torch else [args.out, args.out.with_suffix(".json")]
    check_new(written, args.overwrite)
    if args.to_torch:
        export(args.source, args.to_torch)
    else:
        import_net(args)


def import_net(args: argparse.Namespace) -> None:
    """Writes the net of a file, or of a published name, and its card."""
    family = FAMILIES[args.family]
    known = published.named(args.name or args.source, family.nets)
    if args.name and known is None:
        raise ValueError(f"--name {args.name} is none of {', '.join(family.nets)}.")
    if known is None and args.temperature is None and Path(args.source).is_file():
        other = ", or its --temperature, which is in no file" if args.family == "authors" else ""
        raise ValueError(
            f"Which net {args.source} holds is not known. Give its --name, such as "
            f"{next(iter(family.nets))}{other}."
        )
    again = f"coda-keras import {args.family} --out {args.out}"
    with published.opened(args.source, family.nets, again) as path:
        from coda_keras.importing import torch_file

        state = torch_file.read(path)
        checksum = published.checksum(path)
    net = built(args, state, known)
    with replacing(args.out) as temporary:
        net.save(temporary)
    write_json(args.out.with_suffix(".json"), card(family, known, args.source, checksum, net))
    print(
        f"net   {args.out}: {known.name if known else net.name}, {net.count_params():,} "
        f"parameters, T = {net.temperature:g}\n"
        f"card  {args.out.with_suffix('.json')}\n"
        f"try   coda-keras explain --model {args.out} --resize IMAGE"
    )


def built(
    args: argparse.Namespace, state: dict[str, Any], known: published.Published | None
) -> "CoDANet":
    """The net of a state dict."""
    from coda_keras.importing import authors, bcos
    from coda_keras.models.loading import check_finite

    name = known.name if known else ""
    try:
        if args.family == "bcos":
            net = bcos.net(state, name.removesuffix("_long"))
        else:
            net = authors.net(state, args.temperature or temperature(name))
        check_finite(net)
    except ValueError as error:
        title = FAMILIES[args.family].title
        raise ValueError(f"{args.source} holds no net of {title}: {error}.") from error
    return net


def card(
    family: Family,
    known: published.Published | None,
    source: str,
    checksum: str,
    net: "CoDANet",
) -> dict[str, Any]:
    """What is known of an imported net."""
    from coda_keras import __version__

    return {
        "name": known.name if known else net.name,
        "source": known.url if known else Path(source).name,
        "sha256": checksum,
        "code": family.code,
        "licence": family.licence,
        "citation": family.citation,
        "architecture": net.name,
        "temperature": net.temperature,
        "logit_bias": net.logit_bias,
        "image_size": net.image_size,
        "parameters": net.count_params(),
        "class_names": net.class_names,
        "imported_by": f"coda-keras {__version__}",
    }


def export(source: str, path: Path) -> None:
    """Writes the weights of a net as a state dict of the authors' code."""
    from coda_keras.importing import authors, torch_file
    from coda_keras.models.coda_net import CoDANet
    from coda_keras.models.loading import load_model

    net = load_model(source)
    if type(net) is not CoDANet:
        raise ValueError(f"{source} is no CoDANet, which is what the authors' code has.")
    torch_file.write(path, authors.state_dict(net))
    made = ", ".join(
        f"{name}={json.dumps(value)}" for name, value in authors.arguments(net).items()
    )
    print(f"state dict  {path}, for make_coda_net({made}, norm_function=Squashing)")


def parse(arguments: Sequence[str] | None, prog: str | None) -> argparse.Namespace:
    parser = Parser(prog=prog, description=__doc__)
    parser.add_argument("family", choices=sorted(FAMILIES), help="whose nets")
    parser.add_argument("source", help="name of a published net, or a file")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, metavar="FILE.keras", help="the net to write")
    target.add_argument(
        "--to-torch", type=Path, metavar="FILE.pkl", help="the state dict to write of a net"
    )
    parser.add_argument("--name", help="which published net a file is")
    parser.add_argument(
        "--temperature", type=positive_number, help="of a net that was not published"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    args = parser.parse_args(arguments)
    if args.family == "bcos" and (args.to_torch or args.temperature):
        parser.error("--to-torch and --temperature are for the nets of the authors")
    if args.out and args.out.suffix != ".keras":
        parser.error(f"--out {args.out} must end with .keras")
    return args


if __name__ == "__main__":
    main()
