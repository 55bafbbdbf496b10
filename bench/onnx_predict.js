#!/usr/bin/env node
/* onnx_predict.js - ONNX Runtime as the peer of `make bench WHAT=predict`: images/s.

   Reads a net that lsnn_net_save wrote (its graph is text in the file's metadata), writes the
   same graph with the same weights as an ONNX model, and runs it in exact fp32. Layers that
   only training has are left out; a smoother with free parameters is a product with a
   constant, as it is in lsnn.

       node bench/onnx_predict.js --check FOLDER --batch 128 --threads 2
           peer what=predict net=cnn worst=0.002 at=3 peer_name=onnxruntime-1.30.0 ...

   FOLDER holds net.safetensors, and check.safetensors with images x and lsnn's scores y;
   `worst=` is the largest difference beside 1e-4 of the largest score, so that 1 is just equal,
   `at=` the score's number.
   With --serve each line "go" on standard input is answered by a line `images_per_s=...`.
   --onnx FILE keeps the model. ORT_NODE=FOLDER: where `npm install onnxruntime-node` was run.
   Exit status 77: ONNX Runtime is not here.                                              */
'use strict';
const fs = require('fs');
const path = require('path');

const flags = { net: '-', batch: '1', threads: '2', seconds: '0.5', check: '.', repeats: '7' };
for (let i = 2; i < process.argv.length; i++) {
    const name = process.argv[i].replace(/^--/, '');
    flags[name] = name === 'serve' ? true : process.argv[++i];
}
const batch = Number(flags.batch), threads = Number(flags.threads);

function load(file) {
    const folders = [process.env.ORT_NODE, process.cwd(), __dirname].filter(Boolean);
    return require(require.resolve(file, { paths: folders }));
}
let ort, version;
try {
    /* The binding itself: the public run() adds a trip through the event loop to each call.
       So called, a net of one product of 10 x 16 takes 4.5 microseconds in all.             */
    ort = { Tensor: load('onnxruntime-node').Tensor,
            ...load('onnxruntime-node/dist/binding.js') };
    version = load('onnxruntime-node/package.json').version;
} catch (e) {
    console.error('peer skipped: ONNX Runtime is missing (npm install --ignore-scripts ' +
                  'onnxruntime-node@1.30.0 in some folder, then ORT_NODE=FOLDER)');
    process.exit(77);
}

/* ---- safetensors ---------------------------------------------------------------------- */
function readSafetensors(file) {
    const bytes = fs.readFileSync(file);
    const size = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.subarray(8, 8 + size).toString());
    const tensors = {};
    for (const [name, t] of Object.entries(header)) {
        if (name === '__metadata__') continue;
        const at = 8 + size + t.data_offsets[0], end = 8 + size + t.data_offsets[1];
        tensors[name] = { shape: t.shape,
                          v: new Float32Array(new Uint8Array(bytes.subarray(at, end)).buffer) };
    }
    return { tensors, meta: header.__metadata__ || {} };
}

/* ---- protobuf: as much as an ONNX model needs -------------------------------------------- */
function varint(n) {
    const out = [];
    for (n = BigInt(n); n > 127n; n >>= 7n) out.push(Number(n & 127n) | 128);
    return Buffer.from([...out, Number(n)]);
}
/* Field `number`: an integer, or anything that has a length.                                */
const whole = (number, n) => Buffer.concat([varint(number * 8), varint(n)]);
function chunk(number, v) {
    const bytes = Buffer.isBuffer(v) ? v : Buffer.from(v);
    return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}
const message = (...parts) => Buffer.concat(parts.flat());

/* AttributeProto: name 1, f 2, i 3, ints 8, type 20 (FLOAT 1, INT 2, INTS 7)                */
function attribute(name, v) {
    if (Array.isArray(v))
        return message(chunk(1, name), v.map(n => whole(8, n)), whole(20, 7));
    if (typeof v === 'bigint') return message(chunk(1, name), whole(3, v), whole(20, 2));
    const f = Buffer.alloc(5);
    f[0] = 2 * 8 + 5;
    f.writeFloatLE(v, 1);
    return message(chunk(1, name), f, whole(20, 1));
}
/* NodeProto: input 1, output 2, op_type 4, attribute 5                                      */
const node = (type, inputs, output, attributes = {}) => message(
    inputs.map(x => chunk(1, x)), chunk(2, output), chunk(4, type),
    Object.entries(attributes).map(([k, v]) => chunk(5, attribute(k, v))));
/* TensorProto: dims 1, data_type 2 (FLOAT 1), name 8, raw_data 9                            */
const tensor = (name, shape, v) => message(
    shape.map(n => whole(1, n)), whole(2, 1), chunk(8, name),
    chunk(9, Buffer.from(v.buffer, v.byteOffset, v.byteLength)));
/* ValueInfoProto: name 1, type 2 = TypeProto.tensor_type 1 = { elem_type 1, shape 2 }       */
const valueInfo = (name, shape) => message(chunk(1, name), chunk(2, chunk(1, message(
    whole(1, 1), chunk(2, message(shape.map(n => chunk(1, whole(1, n)))))))));

/* ---- lsnn's graph as ONNX ---------------------------------------------------------------- */
/* "conv1 conv2d x=input filters=16" -> { name, type, x: ["input"], filters: 16, ... }       */
function parseLine(line) {
    const [name, type, ...words] = line.split(' ');
    const layer = { name, type, x: [], plain: [] };
    for (const word of words) {
        const [key, value] = word.split('=');
        if (value === undefined) layer.plain.push(Number(word));
        else layer[key] = key === 'x' ? value.split(',') : Number(value);
    }
    return layer;
}

/* Output size and padding of one axis. padding: 0 valid, 1 same, 2 explicit                 */
function axis(size, kernel, stride, padding, before, after) {
    if (padding === 1) {
        const total = Math.max((Math.ceil(size / stride) - 1) * stride + kernel - size, 0);
        before = Math.floor(total / 2);
        after = total - before;
    }
    return [Math.floor((size + before + after - kernel) / stride) + 1, before, after];
}
function window(l, [c, h, w], filters) {
    const [oh, top, bottom] = axis(h, l.kernel_h, l.stride_h, l.padding || 0, l.pad_top || 0,
                                   l.pad_bottom || 0);
    const [ow, left, right] = axis(w, l.kernel_w, l.stride_w, l.padding || 0, l.pad_left || 0,
                                   l.pad_right || 0);
    return { shape: [filters || c, oh, ow],
             attributes: { kernel_shape: [l.kernel_h, l.kernel_w],
                           pads: [top, left, bottom, right],
                           strides: [l.stride_h, l.stride_w] } };
}

/* U(p) = exp(-|Phi (p - mu)|^2) of K maps, divided by their sum (1) or mean (2).            */
function gaussianMaps(theta, k, h, w, normalise) {
    const u = new Float32Array(k * h * w);
    for (let m = 0; m < k; m++) {
        const [muX, muY, alpha, beta, gamma] = theta.subarray(5 * m, 5 * m + 5);
        const exponent = new Float64Array(h * w);
        for (let i = 0; i < h * w; i++) {
            const x = (w > 1 ? i % w / (w - 1) : 0) - muX;
            const y = (h > 1 ? Math.floor(i / w) / (h - 1) : 0) - muY;
            exponent[i] = -((alpha * x + gamma * y) ** 2 + (gamma * x + beta * y) ** 2);
        }
        const most = normalise ? Math.max(...exponent) : 0;
        const e = exponent.map(v => Math.exp(v - most));
        const sum = e.reduce((a, b) => a + b, 0);
        const by = normalise === 1 ? sum : normalise === 2 ? sum / (h * w) : 1;
        e.forEach((v, i) => { u[m * h * w + i] = v / by; });
    }
    return u;
}

/* One function a layer type: adds ONNX nodes that compute g.values[l.name], returns its shape.
   x: names of the inputs' values; [c, h, w]: the first input's shape.                       */
const layers = {
    conv2d(g, l, x, shape) {
        const s = window(l, shape, l.filters);
        g.add('Conv', [x[0], g.weight(l, 'weight'), ...g.bias(l)], l.name, s.attributes);
        return s.shape;
    },
    max_pool(g, l, x, shape) {
        const s = window(l, shape);
        g.add('MaxPool', x, l.name, s.attributes);
        return s.shape;
    },
    avg_pool(g, l, x, shape) {
        const s = window(l, shape);
        if (s.shape[1] * s.shape[2] === 1) g.add('GlobalAveragePool', x, l.name);
        else g.add('AveragePool', x, l.name, s.attributes);
        return s.shape;
    },
    relu(g, l, x, shape) {
        g.add('Relu', x, l.name);
        if (g.flat.has(x[0])) g.flat.add(l.name);
        return shape;
    },
    batch_norm(g, l, x, shape) {
        const four = ['gamma', 'beta', 'mean', 'variance'].map(kind => g.weight(l, kind));
        g.add('BatchNormalization', [x[0], ...four], l.name, { epsilon: l.eps });
        return shape;
    },
    concat(g, l, x, [, h, w]) {
        g.add('Concat', x, l.name, { axis: 1n });
        return [l.x.reduce((sum, name) => sum + g.shapes[name][0], 0), h, w];
    },
    dense(g, l, x) {
        let rows = x[0];
        if (!g.flat.has(rows)) g.add('Flatten', [rows], rows = `${l.name}.rows`, { axis: 1n });
        g.add('Gemm', [rows, g.weight(l, 'weight'), ...g.bias(l)], l.name, { transB: 1n });
        g.flat.add(l.name);
        return [l.filters, 1, 1];
    },
    smooth(g, l, x, [c, h, w]) {
        if (x.length > 1 || l.smooth_shape || l.rank !== 1 || l.smooth_bias)
            throw new Error(`no ONNX for this smoother: ${l.name}`);
        const theta = g.net.tensors[`${l.name}.theta`].v;
        const u = g.constant(`${l.name}.map`, [1, c, h, w],
                             gaussianMaps(theta, c, h, w, l.normalise));
        g.add('Mul', [x[0], u], l.no_bias ? l.name : `${l.name}.product`);
        if (!l.no_bias)
            g.add('Add', [`${l.name}.product`, g.weight(l, 'bias', [1, c, 1, 1])], l.name);
        return [c, h, w];
    },
    dropout(g, l, x, shape) { g.values[l.name] = x[0]; return shape; },
    flatten(g, l, x, shape) { g.values[l.name] = x[0]; return shape; },
};

function toOnnx(net) {
    const nodes = [], constants = [];
    const g = { net, shapes: {}, values: {}, flat: new Set() };  /* flat: values of rank 2 */
    g.add = (...a) => nodes.push(chunk(1, node(...a)));
    g.constant = (name, shape, v) => {
        constants.push(chunk(5, tensor(name, shape, v)));
        return name;
    };
    g.weight = (l, kind, shape) => {
        const t = net.tensors[`${l.name}.${kind}`];
        return g.constant(`${l.name}.${kind}`, shape || t.shape, t.v);
    };
    g.bias = l => l.no_bias ? [] : [g.weight(l, 'bias')];
    let input;
    for (const line of net.meta['lsnn.graph'].trim().split('\n')) {
        const l = parseLine(line);
        g.values[l.name] = l.name;
        if (l.type === 'input') g.shapes[input = l.name] = l.plain;
        else if (layers[l.type])
            g.shapes[l.name] = layers[l.type](g, l, l.x.map(name => g.values[name]),
                                              g.shapes[l.x[0]]);
        else if (l.type !== 'cross_entropy') throw new Error(`no ONNX for layer ${line}`);
    }
    const last = net.meta['lsnn.output'], output = g.values[last];
    const shape = [batch, ...g.shapes[input]];
    const graph = message(nodes, chunk(2, 'lsnn'), constants,
                          chunk(11, valueInfo(input, shape)),
                          chunk(12, valueInfo(output, [batch, g.shapes[last][0]])));
    /* ModelProto: ir_version 1, graph 7, opset_import 8 = { version 2 }                      */
    const model = message(whole(1, 8), chunk(7, graph), chunk(8, whole(2, 13)));
    return { model, input, output, shape };
}

/* ---- running ----------------------------------------------------------------------------- */
function main() {
    const net = readSafetensors(path.join(flags.check, 'net.safetensors'));
    const check = readSafetensors(path.join(flags.check, 'check.safetensors')).tensors;
    const { model, input, output, shape } = toOnnx(net);
    if (flags.onnx) fs.writeFileSync(flags.onnx, model);
    if (ort.initOrt) ort.initOrt();
    const session = new ort.binding.InferenceSession();
    session.loadModel(model.buffer, model.byteOffset, model.byteLength,
                      { intraOpNumThreads: threads, interOpNumThreads: 1,
                        executionMode: 'sequential', graphOptimizationLevel: 'all' });
    const count = shape.reduce((a, b) => a * b, 1);
    const feed = v => ({ [input]: new ort.Tensor('float32', v, shape) });
    const feeds = [feed(check.x.v)];
    for (let i = 1; i < 8; i++) feeds.push(feed(new Float32Array(count).map(Math.random)));
    const run = i => session.run(feeds[i % feeds.length], { [output]: null }, {});

    const scores = run(0)[output].data, ours = check.y.v;
    const most = ours.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
    let worst = scores.length === ours.length ? 0 : Infinity, at = 0;
    for (let i = 0; i < ours.length && worst < Infinity; i++) {
        const difference = Math.abs(scores[i] - ours[i]) / (1e-4 * most);
        if (!(difference <= worst)) { worst = difference; at = i; }
    }
    function measure(seconds) {                  /* warm after its first call, not counted */
        run(0);
        const start = process.hrtime.bigint();
        for (let calls = 1; ; calls++) {
            run(calls);
            const spent = Number(process.hrtime.bigint() - start) / 1e9;
            if (spent >= seconds && calls >= 2) return calls * batch / spent;
        }
    }
    const seconds = Number(flags.seconds);
    measure(Math.min(0.5, seconds));
    const head = `peer what=predict net=${flags.net} batch=${batch} threads=${threads} ` +
                 `worst=${worst.toPrecision(3)} at=${at} peer_name=onnxruntime-${version}`;
    if (!flags.serve) {
        const speeds = Array.from({ length: Number(flags.repeats) }, () => measure(seconds));
        speeds.sort((a, b) => a - b);
        console.log(`${head} images_per_s=${speeds[speeds.length >> 1].toFixed(1)}`);
        return;
    }
    fs.writeSync(1, `${head} ready\n`);
    for (const one = Buffer.alloc(1), line = []; fs.readSync(0, one, 0, 1, null) === 1; ) {
        if (one[0] !== 10) { line.push(one[0]); continue; }
        const word = Buffer.from(line.splice(0)).toString().trim();
        fs.writeSync(1, word === 'go' ? `images_per_s=${measure(seconds).toFixed(1)}\n`
                                      : 'error: the only command is go\n');
    }
}
main();
