"""What can go wrong, by whose doing.

A message says what is wrong, where (file, field, value) and what to do, in one sentence: the
command line prints exactly that and leaves with ``exit_code``.
"""

import errno

_ELSEWHERE = "free space or choose another place"
_REMEDIES: dict[int | None, str] = {
    errno.ENOENT: "check the name", errno.ENOTDIR: "check the name", errno.EISDIR: "name a file",
    errno.EACCES: "change its permissions or choose another place",
    errno.EPERM: "change its permissions or choose another place",
    errno.EROFS: "choose another place", errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "look at that disk",
}  # fmt: skip
"""What to do about what the system says; for all else there is room elsewhere."""


class GcnsysError(Exception):
    """Any error gcnsys raises on purpose.

    Attributes:
        exit_code: of the command that it ends.
        everywhere: every rank raises the same one, so that one of them saying it is enough.
        said: another rank says it, or more.
    """

    exit_code = 1
    everywhere = False
    said = False


class InputError(GcnsysError, ValueError):
    """The caller's input cannot be used as it is."""

    exit_code = 2


class UnknownNameError(InputError, LookupError):
    """A name that nothing is registered under."""


class MissingPackageError(InputError, ImportError):
    """An optional package is needed and not installed."""


class DamagedFileError(InputError):
    """A file is not what was written: truncated, altered, or of another version."""


class PeerError(GcnsysError, RuntimeError):
    """Another rank failed, or the ranks disagree."""


def known_to_all(sentence: str, kind: type[GcnsysError] = GcnsysError) -> GcnsysError:
    """An error that every rank raises."""
    problem = kind(sentence)
    problem.everywhere = True
    return problem


def of_system(error: OSError) -> InputError:
    """What the system says of a file, and what to do about it, as a sentence."""
    where = f"{error.filename}: " if error.filename else ""
    return InputError(f"{where}{error.strerror or error}; {_REMEDIES.get(error.errno, _ELSEWHERE)}")
