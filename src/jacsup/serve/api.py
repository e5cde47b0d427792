"""The list of a server's endpoints, and its description for programs (OpenAPI) and for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

# The version increases when an endpoint changes in a way that breaks programs.
PREFIX = "/api/v1"
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A path below PREFIX.

    Attributes:
        path: The path; names in braces are parameters.
        handler: Answers requests.
        summary: What it does.
        answer: The media type of its answer.
        method: GET or POST.
        query: Descriptions of the query's parameters by name.
        body: The content of a request: a media type and a description; None for GET.
        example: Arguments of curl, with ADDRESS for the server's address.
    """

    path: str
    handler: Handler
    summary: str
    answer: str
    method: str = "GET"
    query: dict[str, str] = field(default_factory=dict)
    body: tuple[str, str] | None = None
    example: str


def openapi(endpoints: Sequence[Endpoint], name: str) -> dict[str, Any]:
    """Return the endpoints' description in OpenAPI 3.1.

    Args:
        endpoints: The endpoints.
        name: The model's name.
    """
    error = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    refused = {"description": "One line that says what is wrong.", "content": {"application/json": {"schema": error}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"jacsup editor of {name}", "version": PREFIX.rpartition("/")[2]},
        "servers": [{"url": PREFIX.removeprefix("/api/")}],
        "paths": {each.path: {each.method.lower(): _operation(each, refused)} for each in endpoints},
    }


def _operation(endpoint: Endpoint, refused: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "query", "description": words} for name, words in endpoint.query.items()
    ]
    in_path = [part[1:-1] for part in endpoint.path.split("/") if part.startswith("{")]
    parameters += [{"name": name, "in": "path", "required": True} for name in in_path]
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.path.strip("/").partition("/")[0],
        "parameters": [{**parameter, "schema": {"type": "string"}} for parameter in parameters],
        "responses": {
            "200": {"description": "The answer.", "content": {endpoint.answer: {}}},
            "4XX": refused,
        },
    }
    if endpoint.body:
        kind, words = endpoint.body
        operation["requestBody"] = {"description": words, "content": {kind: {}}}
    return operation


def reference(endpoints: Sequence[Endpoint], name: str, address: str) -> str:
    """Return the endpoints' description as a page.

    Args:
        endpoints: The endpoints.
        name: The model's name.
        address: The server's address, for the examples.
    """
    parts = []
    for each in endpoints:
        listed = [f"<li><code>{key}</code>: {escape(words)}</li>" for key, words in each.query.items()]
        if each.body:
            listed.append(f"<li>body, {each.body[0]}: {escape(each.body[1])}</li>")
        listed.append(f"<li>answer: {each.answer}</li>")
        example = escape(f"curl {each.example.replace('ADDRESS', address + PREFIX)}")
        parts.append(
            f"<h2>{each.method} {PREFIX}{each.path}</h2>\n<p>{escape(each.summary)}</p>\n<ul>{''.join(listed)}</ul>\n"
            f"<pre><code>{example}</code></pre>\n"
        )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>jacsup editor: API</title>
<link rel="stylesheet" href="page.css">
<link rel="icon" href="data:,">
</head>
<body>
<header><h1>jacsup</h1><p>The API of the editor of {escape(name)}</p></header>
<main class="text">
<p>Errors are JSON, such as {{"error": "..."}}, with a status of 400 or above. The same description for programs, in
OpenAPI: <a href="api/openapi.json">openapi.json</a>.</p>
{"".join(parts)}</main>
</body>
</html>
"""
