"""A tool parser that takes calls whose id is `functions.NAME:N` alone, as vLLM's was until 2025-10.

vLLM imports it by its flag `--tool-parser-plugin`.
"""

import re

from vllm.parser.kimi_k2 import KimiK2Parser
from vllm.tool_parsers.abstract_tool_parser import ToolParserManager
from vllm.tool_parsers.kimi_k2_tool_parser import KimiK2ToolParser

STRICT = re.compile(r"functions\.\w+:\d+$")
_original = KimiK2Parser._extract_tool_id_and_name


def _strict(header):
    if header is None or not STRICT.match(header.strip()):
        return None, None
    return _original(header)


KimiK2Parser._extract_tool_id_and_name = staticmethod(_strict)


@ToolParserManager.register_module("strict_tool_ids")
class StrictToolIds(KimiK2ToolParser):
    """Kimi K2's parser with the stricter pattern."""
