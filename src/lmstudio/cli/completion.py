"""`lmstudio completion`: what a shell needs to complete commands, options and the names of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import asking

if TYPE_CHECKING:
    import argparse

_SHELLS: Final = ("bash", "zsh", "fish")
_PROGRAM: Final = "lmstudio"
_HOW: Final = """\
for this shell, and for all later ones:
  bash  eval "$(lmstudio completion bash)"        in ~/.bashrc
  zsh   eval "$(lmstudio completion zsh)"         in ~/.zshrc, after compinit
  fish  lmstudio completion fish | source         in ~/.config/fish/config.fish"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    import argparse

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _HOW
    parser.add_argument("shell", choices=_SHELLS, help="the shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the script; returns the exit code."""
    from argcomplete.shell_integration import shellcode

    asking.say(shellcode([_PROGRAM], shell=arguments.shell).rstrip("\n"))
    return asking.EXIT_OK
