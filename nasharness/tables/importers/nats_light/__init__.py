"""Small public files of the topology space, fetched or given, as the table 'light'."""
