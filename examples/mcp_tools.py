"""Let the model use the tools of an MCP server. Needs `pip install "lmstudio[mcp]"`, version 2 of the mcp package."""

import asyncio

import mcp
from mcp.server import MCPServer

import lmstudio as lms
from lmstudio.mcp import mcp_tools

server = MCPServer("weather")  # in this process; an address such as "http://localhost:8000/mcp" is used alike


@server.tool()
def get_weather(city: str) -> str:
    """Get the current weather in a city."""
    return f"sunny in {city}, 21 degrees"


async def main() -> None:
    """Take all tools that the server offers."""
    async with mcp.Client(server) as session, lms.AsyncClient() as client:
        tools = await mcp_tools(session)
        print("tools:", ", ".join(tool.name for tool in tools))
        model = await client.llm.model()
        result = await model.act("What is the weather in Oslo?", tools, config={"temperature": 0.0})
        print(result.content)


if __name__ == "__main__":
    asyncio.run(main())
