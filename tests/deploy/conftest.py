"""What the tests of image, chart, dashboards and rules share."""

import pytest

from tests.support import containers


@pytest.fixture(scope="session")
def image() -> str:
    """Build the image once; later runs take the layers that did not change."""
    return containers.build()
