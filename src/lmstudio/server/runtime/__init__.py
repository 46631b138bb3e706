"""The engine that this server has, and the machine that it runs on."""
