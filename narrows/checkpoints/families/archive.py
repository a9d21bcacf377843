"""Files within a tar archive, as NVIDIA's NeMo packs a checkpoint: weights and a config.

Members are read into memory, never extracted: their names and links have no effect on the file system.
"""

import tarfile
from pathlib import Path

from narrows.errors import ModelError, shortened

MAX_MEMBERS = 1000
MAX_BYTES = 16 << 30  # of a member; an archive that is not compressed cannot hold more than its own size


def read_members(path: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The contents of the regular files in an archive with one of these names, in any folder, by name.

    Raises ModelError for a damaged or compressed archive, and for one without a file of each name, or with several.
    """
    found = dict[str, bytes]()
    try:
        with tarfile.open(path, "r:") as archive:
            for number, member in enumerate(archive):
                if number == MAX_MEMBERS:
                    raise ModelError(f"expected at most {MAX_MEMBERS} files in {path}, got more")
                name = Path(member.name).name
                if name not in names or not member.isreg():
                    continue
                if name in found or member.size > min(MAX_BYTES, path.stat().st_size):
                    raise ModelError(f"expected one file {name} of at most the size of {path}, got others")
                file = archive.extractfile(member)
                data = b"" if file is None else file.read()
                if len(data) != member.size:
                    raise ModelError(f"{path} cannot be read: {name} is cut off; fetch it again")
                found[name] = data
    except (tarfile.TarError, OSError, ValueError, EOFError, LookupError, ArithmeticError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as a tar archive ({shortened(str(error))}); fetch it again") from error
    if missing := [name for name in names if name not in found]:
        raise ModelError(f"expected {' and '.join(missing)} in {path}, got none")
    return found
