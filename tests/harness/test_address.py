"""A URL as users write it; what it must not hold is refused without being shown."""

from __future__ import annotations

import pytest

from harness.address import address
from harness.base.errors import ConfigError


@pytest.mark.parametrize(
    ("name", "base", "model"),
    [
        ("http://host:8000", "http://host:8000", None),
        ("http://host:8000/", "http://host:8000", None),
        ("http://host:8000/v1", "http://host:8000", None),
        ("http://host:8000/v1/", "http://host:8000", None),
        ("https://api.vendor.com/inference/v1", "https://api.vendor.com/inference", None),
        ("https://host/v1#org/model-1", "https://host", "org/model-1"),
        ("http://[::1]:8000#m", "http://[::1]:8000", "m"),
    ],
)
def test_a_base_url_with_or_without_the_apis_version(
    name: str, base: str, model: str | None
) -> None:
    found = address(name)
    assert (found.base, found.model) == (base, model)
    assert address(str(found)) == found


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("ftp://host", "must begin with http"),
        ("http://[::1", "is not a URL"),
        ("https://user:s3cret@host/v1", "https://host: the URL holds a user name"),
        ("https://s3cret@host", "user name"),
        ("https://host/v1?key=s3cret", "ends with a query"),
    ],
)
def test_what_is_no_address_is_refused_and_no_secret_is_shown(name: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        address(name)
    assert "s3cret" not in str(caught.value)
