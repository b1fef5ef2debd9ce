"use strict";

const element = (id) => document.getElementById(id);
let classifier = null;

function tell(message, isError = false) {
  element("status").textContent = message;
  element("status").classList.toggle("error", isError);
}

/** Opens a classifier's file. */
async function openClassifier(file) {
  tell(`Loading ${file.name} ...`);
  classifier = null;
  element("image").disabled = true;
  const bytes = new Uint8Array(await file.arrayBuffer());
  const metadata = onnxMetadata(bytes);
  if (!metadata["defrost.classes"]) throw new Error(`${file.name} is no classifier that defrost exported`);
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
  classifier = {
    session,
    classes: JSON.parse(metadata["defrost.classes"]),
    severalLabels: metadata["defrost.task"] === "multi_label",
  };
  element("model-text").textContent = file.name;
  element("image").disabled = false;
  element("card").textContent = describe(metadata);
  tell("Ready.");
}

/** Where the classifier comes from and how good it was, in a sentence. */
function describe(metadata) {
  const origin = JSON.parse(metadata["defrost.origin"] || "{}");
  const metrics = JSON.parse(metadata["defrost.metrics"] || "{}");
  const parts = [`Network: ${origin.model}.`];
  const shown = ["accuracy", "quadratic_kappa", "roc_auc_macro"].find((name) => metrics[name] && metrics[name].value !== null);
  if (shown) parts.push(`On ${metrics[shown].n} test images: ${shown.replaceAll("_", " ")} ${metrics[shown].value.toFixed(3)}.`);
  if (origin.random_weights) parts.push("Its weights are random: the results mean nothing.");
  return parts.join(" ");
}

/** Pixels of an image file, uint8 [1, H, W, 3], turned upright, no colour conversion. */
async function pixels(file) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(file, options);
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from];
    rgb[to + 1] = rgba[from + 1];
    rgb[to + 2] = rgba[from + 2];
  }
  return new ort.Tensor("uint8", rgb, [1, height, width, 3]);
}

/** Runs the classifier on an image and shows what it says. */
async function classify(file) {
  if (!classifier) throw new Error("Choose a classifier first.");
  tell(`Computing ${file.name} ...`);
  const images = await pixels(file);
  const start = performance.now();
  const results = await classifier.session.run({ images });
  const seconds = (performance.now() - start) / 1000;
  const probabilities = Array.from(results.probabilities.data);
  const label = Array.from(results.label.data, Number);
  const chosen = classifier.severalLabels ? label.map((value) => value === 1) : probabilities.map((_, at) => at === label[0]);
  const rows = classifier.classes.map((name, at) => ({ name, probability: probabilities[at], chosen: chosen[at] }));
  rows.sort((one, other) => other.probability - one.probability);
  element("probabilities").tBodies[0].replaceChildren(...rows.map(tableRow));
  const before = element("picture").src;
  element("picture").src = URL.createObjectURL(file);
  if (before) URL.revokeObjectURL(before);
  element("image-text").textContent = file.name;
  element("result").hidden = false;
  const [, height, width] = images.dims;
  tell(`${width} x ${height} pixels, ${seconds.toFixed(2)} s.`);
  return { probabilities, label };
}

function tableRow({ name, probability, chosen }) {
  const row = document.createElement("tr");
  row.classList.toggle("chosen", chosen);
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.style.width = `${100 * probability}%`;
  for (const content of [name, bar, probability.toFixed(3)]) row.insertCell().append(content);
  return row;
}

/** Lets files be chosen or dropped. */
function take(input, drop, use) {
  const run = (file) => file && use(file).catch((error) => tell(error.message, true));
  element(input).addEventListener("change", (event) => { run(event.target.files[0]); event.target.value = ""; });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    element(drop).addEventListener(kind, (event) => {
      event.preventDefault();
      element(drop).classList.toggle("over", kind === "dragover");
      if (kind === "drop") run(event.dataTransfer.files[0]);
    });
  }
}

take("model", "model-drop", openClassifier);
take("image", "image-drop", classify);
