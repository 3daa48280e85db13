"use strict";
// The description of the service as a table: no script of another host, and no HTML from what it says.
function element(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

async function show() {
  const described = await (await fetch("/openapi.json")).json();
  document.getElementById("about").textContent = described.info.description;
  const schemas = { ...described.components.schemas };
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const row = document.createElement("tr");
      row.append(
        element("td", `${method.toUpperCase()} ${path}`),
        element("td", operation.description || operation.summary),
        element("td", Object.keys(operation.responses).join(", ")),
      );
      document.getElementById("paths").append(row);
      const body = operation.requestBody?.content["application/json"].schema;
      if (body) schemas[`Body of ${path}`] = body;
    }
  }
  for (const [name, schema] of Object.entries(schemas)) {
    document.getElementById("schemas").append(element("h3", name), element("pre", JSON.stringify(schema, null, 2)));
  }
}

show();
