"""`lambent admin`: who may use a server that asks (`--auth iam`)."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

from lambent.cli import terminal
from lambent.cli.options import Subparsers, add_command, add_settings, settings_of

_EXAMPLES = """
lambent admin create-key                             the first administrator; prints the key once
lambent admin create-key --user alice
lambent admin create-key --credentials-file admin    into a new file that only you can read
eval "$(lambent admin create-key)"                   and use it in this shell
"""


def add_parser(subparsers: Subparsers) -> None:
    parser = add_command(subparsers, "admin", "make administrators of a server that asks for signatures", _EXAMPLES)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    parser.epilog = f"{parser.epilog}\n`lambent admin create-key --json` prints what it has made as JSON.\n"
    create = add_command(actions, "create-key", "make an access key of an administrator", _EXAMPLES)
    create.add_argument("--user", default="admin", metavar="NAME", help="the user, made if need be (admin)")
    create.add_argument("--account", default="000000000000", metavar="ACCOUNT", help="12 digits (000000000000)")
    create.add_argument(
        "--credentials-file",
        type=Path,
        metavar="FILE",
        help="a new AWS credentials file, mode 0600",
    )
    create.add_argument("--json", action="store_true", help="print the key as JSON")
    add_settings(create, "data_dir", "root_key")


def run(arguments: argparse.Namespace) -> int:
    if not re.fullmatch(r"[0-9]{12}", arguments.account):
        terminal.complain("--account must be 12 digits")
        return 2
    if not re.fullmatch(r"[\w+=,.@-]{1,64}", arguments.user, re.ASCII):
        terminal.complain("--user must be the name of an IAM user: up to 64 letters, digits and +=,.@_-")
        return 2
    config = settings_of(arguments)
    from lambent.app.admin import create_key  # only this command needs it
    from lambent.app.failures import StartError
    from lambent.base.db import DatabaseError

    file: Path | None = arguments.credentials_file
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600) if file is not None else None
        pair = create_key(config, arguments.account, arguments.user)
    except (StartError, DatabaseError) as error:
        if file is not None:
            file.unlink()
        terminal.complain(str(error))
        return 1
    except OSError as error:
        terminal.complain(f"{error.filename}: {error.strerror}")
        return 1
    if descriptor is not None:
        with os.fdopen(descriptor, "w") as out:
            out.write(f"[default]\naws_access_key_id = {pair.key}\naws_secret_access_key = {pair.secret}\n")
        print(f"# {pair.user} is an administrator. The key is in {file}: export AWS_SHARED_CREDENTIALS_FILE={file}")
        return 0
    if arguments.json:
        print(json.dumps({"User": pair.user, "AccessKeyId": pair.key, "SecretAccessKey": pair.secret}))
        return 0
    print(f"# {pair.user} is an administrator. The secret is shown this once.")
    print(f"export AWS_ACCESS_KEY_ID={pair.key}\nexport AWS_SECRET_ACCESS_KEY={pair.secret}")
    return 0
