"use strict";

// The metadata of an ONNX file: a message of protobuf (onnx.proto, ModelProto), of which only field 14, `metadata_props`, is
// read; the graph with its weights is one field that is stepped over.

const METADATA = 14;

/** Calls `visit(field, bytes)` for every field of a message that holds bytes. */
function fields(bytes, visit) {
  let at = 0;
  const number = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      if (at >= bytes.length) throw new Error("the file ends too early");
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = number();
    const field = Math.floor(tag / 8);
    switch (tag % 8) {
      case 0: number(); break;
      case 1: at += 8; break;
      case 2: {
        const length = number();
        if (at + length > bytes.length) throw new Error("the file ends too early");
        visit(field, bytes.subarray(at, at + length));
        at += length;
        break;
      }
      case 5: at += 4; break;
      default: throw new Error("this is no ONNX file");
    }
  }
}

/** Keys and texts of an ONNX file's metadata. */
function onnxMetadata(bytes) {
  const found = {};
  const text = new TextDecoder();
  fields(bytes, (field, entry) => {
    if (field !== METADATA) return;
    const pair = ["", ""];
    fields(entry, (index, value) => { pair[index - 1] = text.decode(value); });
    found[pair[0]] = pair[1];
  });
  return found;
}
