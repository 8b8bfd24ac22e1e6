from __future__ import annotations

import os


def test_this_is_the_kernel_of_debian_12() -> None:
    assert os.uname().release.startswith("6.1.")
    assert "Debian" in os.uname().version
