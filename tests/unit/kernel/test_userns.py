"""What an ordinary user is told where the machine gives them no namespaces."""

from __future__ import annotations

import errno

import pytest

from ltk.kernel import sysctl, userns


@pytest.mark.parametrize(
    ("code", "settings", "problem", "hint"),
    [
        (
            errno.ENOSPC,
            {userns.LIMIT: "0"},
            "user.max_user_namespaces is 0",
            "user.max_user_namespaces=10000",
        ),
        (errno.ENOSPC, {userns.LIMIT: "500"}, "user.max_user_namespaces is 500", "user.max_user_namespaces="),
        (
            errno.EPERM,
            {userns.CLONE_ALLOWED: "0"},
            "lets nobody but root",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            errno.EPERM,
            {userns.LIMIT: "9000", userns.CLONE_ALLOWED: "1", userns.APPARMOR: "1"},
            "AppArmor restricts",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (errno.EACCES, {userns.APPARMOR: "1"}, "AppArmor restricts", "flags=(unconfined) { userns, }"),
        (errno.EINVAL, {}, "no user namespaces", "CONFIG_USER_NS"),
        (
            errno.EPERM,
            {userns.APPARMOR: "0", userns.CLONE_ALLOWED: "1"},
            "not permitted",
            "Or run ltk as root",
        ),
    ],
)
def test_what_has_to_be_allowed_is_said(
    code: int, settings: dict[str, str], problem: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysctl, "read", settings.get)
    monkeypatch.setattr(userns, "_is_filtered", lambda: False)
    error = userns.refusal("making a user namespace", code)
    assert error.exit_status == 6
    assert problem in error.problem
    assert hint in str(error.hint)


def test_a_setting_that_is_for_root_alone_counts_as_the_restriction_that_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(key: str) -> str | None:
        if key == userns.APPARMOR:
            raise PermissionError(errno.EACCES, "Permission denied", key)
        return None

    monkeypatch.setattr(sysctl, "read", read)
    assert "AppArmor" in userns.refusal("making a user namespace", errno.EPERM).problem


def test_where_system_calls_are_filtered_a_container_is_thought_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysctl, "read", {}.get)
    monkeypatch.setattr(userns, "_is_filtered", lambda: True)
    error = userns.refusal("making a user namespace", errno.EPERM)
    assert "seccomp" in error.problem
    assert "container" in str(error.hint)
