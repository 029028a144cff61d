"""Labs without root: the process takes a user namespace in which it is root (user_namespaces(7))."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from lab.fabric import libc
from lab.fabric.child import said_by_child
from nodes.base.errors import Unsupported

#: CAP_NET_ADMIN, CAP_NET_RAW, CAP_SYS_ADMIN (linux/capability.h).
_NEEDED: Final = 1 << 12 | 1 << 13 | 1 << 21

_NOBODY: Final = 65534

ROOT: Final = "root"
USER_NAMESPACE: Final = "user namespace"

#: What forbids user namespaces, by sysctl: the value that does, and who has it.
_FORBIDDEN: Final = (
    ("user/max_user_namespaces", "0", "a setting of this machine"),
    ("kernel/unprivileged_userns_clone", "0", "a setting of Debian's kernels"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "Ubuntu's AppArmor, since 23.10"),
)


def standing() -> str:
    """What the calling process is to the network: ROOT, USER_NAMESPACE (root in one), or "" (neither)."""
    if not has_rights():
        return ""
    # The first user namespace has all ids, each as itself.
    return ROOT if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"] else USER_NAMESPACE


def has_rights() -> bool:
    """Whether the calling process may make network namespaces and everything in them."""
    status = Path("/proc/self/status").read_text()
    effective = int(status.partition("CapEff:")[2].split(None, 1)[0], 16)
    return effective & _NEEDED == _NEEDED


def become_root() -> str:
    """Have the right to make a lab: as the root that this process is, or from now on in a user namespace of its own,
    where it has a network namespace with nothing in it, too. Returns `standing()`.

    To be called before the process has threads. Raises Unsupported, saying what forbids it; then nothing has changed.
    """
    if not has_rights():
        reason = forbidden()
        if reason:
            raise Unsupported(reason)
        _take()
    return standing()


def forbidden() -> str:
    """Why a process without root cannot have a user namespace and make network namespaces in it; "" when it can.

    A child tries. To be called in a process without threads.
    """
    return said_by_child(_try)


def no_root() -> str:
    """Why this process cannot have the right to make a lab; "" when it has it now, by `become_root`."""
    try:
        become_root()
    except Unsupported as error:
        return str(error)
    return ""


def _try() -> str:
    if has_rights():
        _be_nobody()
    _take()
    return ""


def _be_nobody() -> None:
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    libc.set_dumpable()  # what it was before may not write what is in /proc/self


def _take() -> None:
    """Be root in a user namespace. Raises Unsupported, perhaps half-way."""
    user, group = os.geteuid(), os.getegid()
    try:
        libc.unshare(libc.CLONE_NEWUSER)
        # Without it an unprivileged process may not map its group.
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        # Ubuntu's AppArmor may give the namespace, but no rights in it.
        libc.unshare(libc.CLONE_NEWNET)
    except OSError as error:
        raise Unsupported(_why_not(error)) from None


def _why_not(error: OSError) -> str:
    words = "labs on real interfaces need root, or a user namespace, and this machine gives none"
    for name, value, whose in _FORBIDDEN:
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text().strip() == value:
            return (
                f"{words}: sysctl {name.replace('/', '.')} is {value} ({whose}); "
                "run as root, have the administrator change it, or use the backend sim"
            )
    if error.errno == errno.EINVAL and len(list(Path("/proc/self/task").iterdir())) > 1:
        return "a user namespace must be taken before a process has threads"
    if error.errno == errno.ENOSPC:
        return f"{words}: there are too many already (sysctl user.max_user_namespaces)"
    if error.errno == errno.EPERM:
        return f"{words}: it is forbidden (in a container: its seccomp profile; otherwise a security module)"
    return f"{words}: {error.strerror}"
