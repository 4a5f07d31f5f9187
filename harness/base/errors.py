"""Every error that a user can meet.

    EnginediffError
      ConfigError        what was asked for is wrong: a pin, an option, a trace, a URL      exit 2
      BuildError         an engine's environment could not be built                         exit 4
      LaunchError        an engine did not start, or died                                   exit 4
      RequestError       an engine answered something else than what was asked              exit 4

A message says what is wrong, which value, and what would be right. Anything else that reaches the
user is a bug of ours (exit 70). All are picklable: they cross process borders.
"""

from __future__ import annotations


class EnginediffError(Exception):
    """The root: `exit_code` is what the command line ends with."""

    exit_code = 70


class ConfigError(EnginediffError):
    """What the user gave is wrong; nothing was started or written."""

    exit_code = 2


class BuildError(EnginediffError):
    """An engine's environment could not be built; nothing that looks finished was left."""

    exit_code = 4


class LaunchError(EnginediffError):
    """An engine did not become ready, or died; carries the command and the end of its log."""

    exit_code = 4


class RequestError(EnginediffError):
    """A running engine failed a request, or gave an answer that is not what was asked for."""

    exit_code = 4
