#!/usr/bin/env node
/* onnx_run.js MODEL.onnx X.bin Y.bin C H W - runs floats through ONNX Runtime, for test_export.

   X.bin: images of C x H x W floats, one after another; Y.bin gets the output's floats.
   ORT_NODE=FOLDER: where `npm install onnxruntime-node` was run. 77: it is not there.        */
'use strict';
const fs = require('fs');
let ort;
try {
    const paths = [process.env.ORT_NODE, process.cwd()].filter(Boolean);
    ort = require(require.resolve('onnxruntime-node', { paths }));
} catch (e) {
    process.exit(77);
}
async function main() {
    if (process.argv.length < 3) return;                 // asked only whether it is there
    const [model, x, y, ...shape] = process.argv.slice(2);
    const bytes = fs.readFileSync(x);
    const v = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const size = shape.map(Number), one = size.reduce((a, b) => a * b);
    const session = await ort.InferenceSession.create(model);
    const feeds = { [session.inputNames[0]]: new ort.Tensor('float32', v, [v.length / one, ...size]) };
    const out = (await session.run(feeds))[session.outputNames[0]].data;
    fs.writeFileSync(y, Buffer.from(out.buffer, out.byteOffset, out.byteLength));
}
main().catch(e => { console.error(String(e)); process.exit(1); });
