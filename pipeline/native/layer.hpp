// One layer of the member at work: its tensors, and what is done to them.
#pragma once
#include <cmath>
#include <cstring>
#include <vector>

#include "buffer.hpp"
#include "kernels.hpp"

extern "C" {

// What the members of a stack share. A null pointer in b means a layer without bias.
struct Net {
    int32_t layers;              // hidden ones and the output
    const int32_t *sizes;        // inputs, then the units of each layer: layers + 1
    const int32_t *activations;  // of each hidden layer, as in phi()
    float *const *w;             // of each layer (members, units, inputs)
    float *const *b;             // of each layer (members, units)
};

struct Optimizer {
    int32_t kind;  // 0 SGD, 1 Adam, 2 AdamW
    float momentum, beta1, beta2, eps;
    const float *lr, *decay;  // (members)
    const int64_t *steps;     // (members): steps taken before
    float *const *state;      // like w and b of each layer, in the order w0 b0 w1 b1 ..., first moments; then second ones
};

struct Batches {
    const float *x;       // (samples, inputs)
    const int64_t *y;     // (samples)
    const int64_t *rows;  // (members, steps * size), or null: the samples in their order
    int64_t row_stride;   // of rows, from member to member
    int32_t steps, size;
};

}  // extern "C"

namespace {

// One layer of the member at work. Weights lie as (inputs, units), units padded to whole vectors.
struct Layer {
    int in, out, wide, kind;  // kind of activation, -1 for the output
    bool bias, first;
    Buffer w, b, gw, gb, back;       // back: (units, inputs) for the gradient by the inputs
    Buffer a, slope, delta;          // (batch, units)
    std::vector<Buffer> mw, mb;      // moments
    Layer(int in, int out, int kind, bool bias, bool first, int batch, int moments)
        : in(in), out(out), wide(padded(out)), kind(kind), bias(bias), first(first), w((size_t)in * wide), b(wide),
          gw((size_t)in * wide), gb(wide), back(first ? 0 : (size_t)out * padded(in)), a((size_t)batch * wide),
          slope(kind < 0 ? 0 : (size_t)batch * wide), delta((size_t)batch * wide) {
        for (int i = 0; i < moments; ++i) {
            mw.emplace_back(w.size());
            mb.emplace_back(b.size());
        }
    }
};

struct Sums { double loss; int64_t hits; };

// Of VL rows side by side: their largest logit and its class, the sum of exp(logit - largest), and
// something that isn't 0 where a logit isn't finite.
struct Softmax { vf top, total, finite; vi best; };
// Of logits (classes, VL), which become exp(logit - largest).
inline Softmax softmax(int classes, float *z) {
    vf top = load(z), finite = top * 0.0f;
    vi best{};
    for (int j = 1; j < classes; ++j) {
        const vf v = load(z + j * VL);
        const vi more = (v > top) | ((v != v) & (top == top));
        top = pick(more, v, top);
        best = (more & (vi{} + j)) | (~more & best);
        finite += v * 0.0f;
    }
    vf total{};
    for (int j = 0; j < classes; ++j) {
        const vf e = vexp(load(z + j * VL) - top);
        store(z + j * VL, e);
        total += e;
    }
    return {top, total, finite, best};
}

inline void unpack(Layer &k, const float *w, const float *b, float *wt, float *bt) {
    transpose(k.out, k.in, w, k.in, wt, k.wide);
    if (b) std::memcpy(bt, b, k.out * sizeof(float));
}

inline void pack(Layer &k, const float *wt, const float *bt, float *w, float *b) {
    transpose(k.in, k.out, wt, k.wide, w, k.in);
    if (b) std::memcpy(b, bt, k.out * sizeof(float));
}

// What lies in the rows [from, from + n) of a layer, whose rows are padded, to where they aren't.
inline void copy(int from, int n, const Layer &k, const float *rows, float *to) {
    for (int i = from; i < from + n; ++i) std::memcpy(to + (long)i * k.out, rows + (long)i * k.wide, k.out * sizeof(float));
}

// The gradient by the bias; with that of the rows before, where they aren't the first.
inline void sum_rows(Layer &k, int from, int n) {
    for (int j = 0; j < k.wide; j += VL) {
        vf s = from ? load(k.gb + j) : vf{};
        for (int i = from; i < from + n; ++i) s += load(k.delta + (long)i * k.wide + j);
        store(k.gb + j, s);
    }
}

template <int KIND> void activate_as(Layer &k, int from, int n) {
    const long end = (long)(from + n) * k.wide;
    for (long i = (long)from * k.wide; i < end; i += VL) {
        const Value v = phi(KIND, load(k.a + i));
        store(k.a + i, v.a);
        store(k.slope + i, v.slope);
    }
}

inline void activate(Layer &k, int from, int n) {
    switch (k.kind) {
    case 0: activate_as<0>(k, from, n); break;
    case 1: activate_as<1>(k, from, n); break;
    case 2: activate_as<2>(k, from, n); break;
    case 3: activate_as<3>(k, from, n); break;
    default: activate_as<4>(k, from, n); break;
    }
}

// keep: whether g is to become the update; where nobody asks, it need not be written.
inline void update(const Optimizer &o, float lr, float decay, int64_t t, size_t n, float *p, float *g,
                   std::vector<Buffer> &moments, bool keep) {
    if (o.kind == 0) {
        float *m = moments.empty() ? nullptr : (float *)moments[0];
        for (size_t i = 0; i < n; i += VL) {
            const vf old = load(p + i);
            vf d = load(g + i);
            if (decay != 0.0f) d = d + decay * old;
            if (m) {
                if (t > 1) d = o.momentum * load(m + i) + d;
                store(m + i, d);
            }
            const vf u = d * -lr;
            if (keep) store(g + i, u);
            store(p + i, old + u);
        }
        return;
    }
    float *m = moments[0], *v = moments[1];
    const float first = (float)(1.0 / (1.0 - std::pow((double)o.beta1, (double)t)));
    const float second = (float)(1.0 / std::sqrt(1.0 - std::pow((double)o.beta2, (double)t)));
    for (size_t i = 0; i < n; ++i) {
        const float d = g[i] + (o.kind == 1 ? decay * p[i] : 0.0f);
        m[i] = m[i] + (1.0f - o.beta1) * (d - m[i]);
        v[i] = o.beta2 * v[i] + (1.0f - o.beta2) * d * d;
        float u = -lr * first * m[i] / (std::sqrt(v[i]) * second + o.eps);
        if (o.kind == 2) u -= lr * decay * p[i];
        if (keep) g[i] = u;
        p[i] += u;
    }
}

int moments(const Optimizer &o) { return o.kind ? 2 : o.momentum != 0.0f; }

}  // namespace
