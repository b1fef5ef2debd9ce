// Opens the page in headless Chromium, gives it a classifier and images as a person would, and compares the probabilities shown
// with those of `defrost predict`. Called by test.sh.
//
//     node test.mjs DEFROST CLASSIFIER SCREENSHOT IMAGE ...

import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { basename, dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

// Lossless images give the program's pixels; browsers decode JPEGs with rounding of their own.
const TOLERANCE = { ".png": 1e-4, ".bmp": 1e-4 };
const JPEG_TOLERANCE = 0.05;
const TYPES = { ".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

const [program, classifier, screenshot, ...images] = process.argv.slice(2);
const root = dirname(fileURLToPath(import.meta.url));

const server = createServer((request, response) => {
  const path = join(root, normalize(new URL(request.url, "http://page").pathname));
  const file = path.endsWith("/") ? join(path, "index.html") : path;
  if (!file.startsWith(root) || !existsSync(file) || !statSync(file).isFile()) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));

const rows = JSON.parse(execFileSync(program, ["predict", classifier, ...images, "--json", "--quiet", "--device", "cpu"]));
const executablePath = process.env.CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
let failed = 0;
try {
  const page = await browser.newPage({ viewport: { width: 900, height: 620 } });
  const mistakes = [];
  page.on("pageerror", (error) => mistakes.push(error.message));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const status = (wanted) => page.waitForFunction(
    (text) => {
      const status = document.getElementById("status");
      if (status.classList.contains("error")) throw new Error(status.textContent);
      return status.textContent.includes(text);
    }, wanted, { timeout: 300_000 });
  await page.setInputFiles("#model", classifier);
  await status("Ready.");
  let largest = 0;
  for (const row of rows) {
    await page.setInputFiles("#image", row.path);
    await page.waitForFunction((name) => document.getElementById("image-text").textContent === name, basename(row.path), { timeout: 300_000 });
    await status(" pixels, ");
    const shown = await page.$$eval("#probabilities tr", (lines) =>
      lines.map((line) => ({ name: line.cells[0].textContent, text: line.cells[2].textContent, width: line.cells[1].firstChild.style.width, chosen: line.classList.contains("chosen") })));
    // The bar holds the probability with all its digits.
    const differences = shown.map(({ name, width }) => Math.abs(parseFloat(width) / 100 - row.probabilities[name]));
    const difference = Math.max(...differences);
    const allowed = TOLERANCE[extname(row.path).toLowerCase()] ?? JPEG_TOLERANCE;
    const chosen = shown.filter((line) => line.chosen).map((line) => line.name);
    const expected = [row.label].flat();
    const same = chosen.length === expected.length && expected.every((name) => chosen.includes(name));
    const good = shown.length === Object.keys(row.probabilities).length && difference <= allowed && (same || difference > 1e-3);
    console.log(`${good ? "ok  " : "FAIL"} ${basename(row.path)}: ${chosen.join(", ") || "none"}, difference ${difference.toExponential(1)}; ${await page.textContent("#status")}`);
    failed += good ? 0 : 1;
    largest = Math.max(largest, difference);
  }
  await page.screenshot({ path: screenshot });
  // A file that is no classifier is told, not swallowed.
  await page.setInputFiles("#model", join(root, "page.css"));
  await page.waitForFunction(() => document.getElementById("status").classList.contains("error"));
  console.log(`ok   a file that is no classifier: ${await page.textContent("#status")}`);
  failed += mistakes.length;
  mistakes.forEach((mistake) => console.log(`FAIL script error: ${mistake}`));
  console.log(`${rows.length} images, largest difference ${largest.toExponential(1)}`);
  console.log(`${rows.length + 1 - failed} passed, ${failed} failed`);
} finally {
  await browser.close();
  server.close();
}
process.exit(failed > 0 ? 1 : 0);
