"""The run engine: suites asked of engines, journalled and resumed; nothing is paid for twice."""
