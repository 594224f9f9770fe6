// Multilayer perceptrons, many of them: training, evaluation and gradients, member after member,
// so that one member's tensors stay in the cache. A member's numbers depend on it alone.
#include <cstdlib>
#include <new>
#include <vector>

#include "kernels.hpp"
#include "looks.hpp"

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

class Buffer {
public:
    explicit Buffer(size_t n) : size_(n) {
        if (posix_memalign(reinterpret_cast<void **>(&p_), 64, (n ? n : 1) * sizeof(float))) throw std::bad_alloc();
        std::memset(p_, 0, n * sizeof(float));
    }
    Buffer(Buffer &&o) noexcept : p_(o.p_), size_(o.size_) { o.p_ = nullptr; }
    Buffer(const Buffer &) = delete;
    ~Buffer() { std::free(p_); }
    operator float *() const { return p_; }
    size_t size() const { return size_; }

private:
    float *p_ = nullptr;
    size_t size_;
};

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

class Member {
public:
    Member(const Net &net, int batch, int moments) : net_(net), x_((size_t)batch * net.sizes[0]), classes_((size_t)net.sizes[net.layers] * VL) {
        for (int l = 0; l < net.layers; ++l)
            layers_.emplace_back(net.sizes[l], net.sizes[l + 1], l + 1 < net.layers ? net.activations[l] : -1,
                                 net.b[l] != nullptr, l == 0, batch, moments);
    }

    // backwards: whether backward() will be called.
    void read(int64_t m, bool backwards, const Optimizer *o = nullptr) {
        for (int l = 0; l < net_.layers; ++l) {
            Layer &k = layers_[l];
            unpack(k, net_.w[l] + m * (int64_t)k.in * k.out, k.bias ? net_.b[l] + m * k.out : nullptr, k.w, k.b);
            for (size_t i = 0; i < k.mw.size(); ++i) {
                float *const *s = o->state + (i * net_.layers + l) * 2;
                unpack(k, s[0] + m * (int64_t)k.in * k.out, k.bias ? s[1] + m * k.out : nullptr, k.mw[i], k.mb[i]);
            }
            if (!k.first && backwards) transpose(k.in, k.out, k.w, k.wide, k.back, padded(k.in));
        }
    }

    void write(int64_t m, const Optimizer &o) {
        for (int l = 0; l < net_.layers; ++l) {
            Layer &k = layers_[l];
            pack(k, k.w, k.b, net_.w[l] + m * (int64_t)k.in * k.out, k.bias ? net_.b[l] + m * k.out : nullptr);
            for (size_t i = 0; i < k.mw.size(); ++i) {
                float *const *s = o.state + (i * net_.layers + l) * 2;
                pack(k, k.mw[i], k.mb[i], s[0] + m * (int64_t)k.in * k.out, k.bias ? s[1] + m * k.out : nullptr);
            }
        }
    }

    // Gradients or, after a step, updates.
    void write_changes(int64_t m, float *const *w, float *const *b) {
        for (int l = 0; l < net_.layers; ++l) {
            Layer &k = layers_[l];
            pack(k, k.gw, k.gb, w[l] + m * (int64_t)k.in * k.out, k.bias ? b[l] + m * k.out : nullptr);
        }
    }

    // Copies what a batch holds to where forward() looks.
    const float *gather(const Batches &d, const int64_t *rows, int n) {
        const int width = net_.sizes[0];
        for (int i = 0; i < n; ++i) std::memcpy(x_ + (long)i * width, d.x + rows[i] * width, width * sizeof(float));
        return x_;
    }

    // z, if not null: where to put the pre-activations of each hidden layer (n, units).
    void forward(const float *x, int n, float *const *z = nullptr, float *const *a = nullptr) {
        const float *h = x;
        long stride = net_.sizes[0];
        for (size_t l = 0; l < layers_.size(); ++l) {
            Layer &k = layers_[l];
            product(n, k.wide, k.in, h, stride, 1, k.w, k.wide, k.b, k.a, k.wide);
            if (k.kind >= 0) {
                if (z) copy(n, k, k.a, z[l]);
                activate(k, n);
                if (a) copy(n, k, k.a, a[l]);
            }
            h = k.a;
            stride = k.wide;
        }
    }

    // Loss and hits of the logits that forward() left. Where delta is asked for, its gradient by them
    // for the mean over n rows. strict: a row with a logit that isn't finite is no hit.
    Sums loss(const int64_t *y, const int64_t *rows, int n, bool delta, bool strict) {
        Layer &k = layers_.back();
        Sums sums{0.0, 0};
        const float share = 1.0f / n;
        for (int i = 0; i < n; i += VL) {
            const int m = n - i < VL ? n - i : VL;
            transpose(m, k.out, k.a + (long)i * k.wide, k.wide, classes_, VL);
            const Softmax found = softmax(k.out, classes_);
            float *d = k.delta + (long)i * k.wide;
            for (int r = 0; r < m; ++r) {
                const int64_t label = y[rows ? rows[i + r] : i + r];
                const float z = k.a[(long)(i + r) * k.wide + label];
                sums.loss += (double)(std::log(found.total[r]) - (z - found.top[r]));
                sums.hits += found.best[r] == label && (!strict || found.finite[r] == 0.0f);
            }
            if (!delta) continue;
            const vf factor = share / found.total;
            for (int j = 0; j < k.out; ++j) store(classes_ + j * VL, load(classes_ + j * VL) * factor);
            transpose(k.out, m, classes_, VL, d, k.wide);
            for (int r = 0; r < m; ++r) d[(long)r * k.wide + y[rows ? rows[i + r] : i + r]] -= share;
        }
        return sums;
    }

    Signal activations(int l) const { return {layers_[l].a, layers_[l].wide}; }
    Signal slopes(int l) const { return {layers_[l].slope, layers_[l].wide}; }

    // Whether weights and gradients are.
    bool finite() const {
        bool found = true;
        for (const Layer &k : layers_)
            for (const Buffer *b : {&k.w, &k.b, &k.gw, &k.gb}) found = found && all_finite(*b, b->size());
        return found;
    }

    // Takes the output's delta from outside.
    void begin_backward(const float *slope, int n) {
        Layer &k = layers_.back();
        for (int i = 0; i < n; ++i) std::memcpy(k.delta + (long)i * k.wide, slope + (long)i * k.out, k.out * sizeof(float));
    }

    // From the output's delta to every gradient.
    void backward(const float *x, int n) {
        for (int l = net_.layers - 1; l >= 0; --l) {
            Layer &k = layers_[l];
            const float *h = l ? (const float *)layers_[l - 1].a : x;
            const long stride = l ? layers_[l - 1].wide : net_.sizes[0];
            product(k.in, k.wide, n, h, 1, stride, k.delta, k.wide, nullptr, k.gw, k.wide);
            if (k.bias) sum_rows(k, n);
            if (!l) break;
            Layer &below = layers_[l - 1];
            product(n, below.wide, k.out, k.delta, k.wide, 1, k.back, below.wide, nullptr, below.delta, below.wide);
            const long size = (long)n * below.wide;
            for (long i = 0; i < size; i += VL) store(below.delta + i, load(below.delta + i) * load(below.slope + i));
        }
    }

    // One step; gradients become updates.
    void step(const Optimizer &o, float lr, float decay, int64_t t) {
        for (Layer &k : layers_) {
            update(o, lr, decay, t, k.w.size(), k.w, k.gw, k.mw);
            if (k.bias) update(o, lr, decay, t, k.b.size(), k.b, k.gb, k.mb);
            if (!k.first) transpose(k.in, k.out, k.w, k.wide, k.back, padded(k.in));
        }
    }

private:
    // Of VL rows side by side: their largest logit and its class, the sum of exp(logit - largest), and
    // something that isn't 0 where a logit isn't finite.
    struct Softmax { vf top, total, finite; vi best; };
    // Of logits (classes, VL), which become exp(logit - largest).
    static Softmax softmax(int classes, float *z) {
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
    static void unpack(Layer &k, const float *w, const float *b, float *wt, float *bt) {
        transpose(k.out, k.in, w, k.in, wt, k.wide);
        if (b) std::memcpy(bt, b, k.out * sizeof(float));
    }
    static void pack(Layer &k, const float *wt, const float *bt, float *w, float *b) {
        transpose(k.in, k.out, wt, k.wide, w, k.in);
        if (b) std::memcpy(b, bt, k.out * sizeof(float));
    }
    static void copy(int n, const Layer &k, const float *from, float *to) {
        for (int i = 0; i < n; ++i) std::memcpy(to + (long)i * k.out, from + (long)i * k.wide, k.out * sizeof(float));
    }
    static void sum_rows(Layer &k, int n) {
        for (int j = 0; j < k.wide; j += VL) {
            vf s{};
            for (int i = 0; i < n; ++i) s += load(k.delta + (long)i * k.wide + j);
            store(k.gb + j, s);
        }
    }
    template <int KIND> static void activate_as(Layer &k, int n) {
        const long size = (long)n * k.wide;
        for (long i = 0; i < size; i += VL) {
            const Value v = phi(KIND, load(k.a + i));
            store(k.a + i, v.a);
            store(k.slope + i, v.slope);
        }
    }
    static void activate(Layer &k, int n) {
        switch (k.kind) {
        case 0: activate_as<0>(k, n); break;
        case 1: activate_as<1>(k, n); break;
        case 2: activate_as<2>(k, n); break;
        case 3: activate_as<3>(k, n); break;
        default: activate_as<4>(k, n); break;
        }
    }
    static void update(const Optimizer &o, float lr, float decay, int64_t t, size_t n, float *p, float *g,
                       std::vector<Buffer> &moments) {
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
                store(g + i, u);
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
            g[i] = u;
            p[i] += u;
        }
    }

    const Net &net_;
    Buffer x_, classes_;  // of a batch; the logits of VL rows (classes, VL)
    std::vector<Layer> layers_;
};

int moments(const Optimizer &o) { return o.kind ? 2 : o.momentum != 0.0f; }

}  // namespace

extern "C" {

// Trains members [from, to) for d.steps steps. loss, hits: (members, steps). uw, ub: null, or where
// the last step's updates go. Returns 0, or 1 where memory has run out.
int train(const Net *net, const Optimizer *o, const Batches *d, int64_t from, int64_t to, float *loss, int32_t *hits,
          float *const *uw, float *const *ub) try {
    Member member(*net, d->size, moments(*o));
    for (int64_t m = from; m < to; ++m) {
        member.read(m, true, o);
        for (int s = 0; s < d->steps; ++s) {
            const int64_t *rows = d->rows + m * d->row_stride + (int64_t)s * d->size;
            const float *x = member.gather(*d, rows, d->size);
            member.forward(x, d->size);
            const Sums sums = member.loss(d->y, rows, d->size, true, false);
            loss[m * d->steps + s] = (float)(sums.loss / d->size);
            hits[m * d->steps + s] = (int32_t)sums.hits;
            member.backward(x, d->size);
            member.step(*o, o->lr[m], o->decay[m], o->steps[m] + s + 1);
        }
        member.write(m, *o);
        if (uw) member.write_changes(m, uw, ub);
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

// Sums of loss and hits of members [from, to) over all samples, d->size at a time.
int evaluate(const Net *net, const Batches *d, int64_t samples, int64_t from, int64_t to, double *loss,
             int64_t *hits) try {
    Member member(*net, d->size, 0);
    for (int64_t m = from; m < to; ++m) {
        member.read(m, false);
        loss[m] = 0.0;
        hits[m] = 0;
        for (int64_t i = 0; i < samples; i += d->size) {
            const int n = (int)(samples - i < d->size ? samples - i : d->size);
            member.forward(d->x + i * net->sizes[0], n);
            const Sums sums = member.loss(d->y + i, nullptr, n, false, true);
            loss[m] += sums.loss;
            hits[m] += sums.hits;
        }
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

// Gradients of the mean loss over d->size samples, and each hidden layer's signals (members, samples, units), where z
// and a aren't null. slope: null, or (samples, classes), what to take for the loss's gradient by the logits. looks:
// null, or what to look for in each hidden layer, while it is in the cache. finite: (members), whether weights,
// gradients and pre-activations are.
int gradients(const Net *net, const Batches *d, int64_t members, const float *slope, float *const *gw,
              float *const *gb, float *const *z, float *const *a, const Look *looks, uint8_t *finite) try {
    const int hidden = net->layers - 1;
    Member member(*net, d->size, 0);
    std::vector<Buffer> room;  // for the pre-activations of one member, which its activations take the place of
    std::vector<float *> zs, as(hidden + 1);
    std::vector<Looker> lookers;
    for (int l = 0; l < hidden; ++l) {
        room.emplace_back((size_t)d->size * net->sizes[l + 1]);
        zs.push_back(room[l]);
        if (looks) lookers.emplace_back(d->size, net->sizes[l + 1], looks[l]);
    }
    for (int64_t m = 0; m < members; ++m) {
        member.read(m, true);
        for (int l = 0; a && l < hidden; ++l) {
            const int64_t at = m * d->size * net->sizes[l + 1];
            zs[l] = z[l] + at, as[l] = a[l] + at;
        }
        member.forward(d->x, d->size, zs.data(), a ? as.data() : nullptr);
        finite[m] = 1;
        for (int l = 0; l < hidden; ++l) {
            const int units = net->sizes[l + 1];
            finite[m] &= all_finite(zs[l], (int64_t)d->size * units);
            if (looks) lookers[l].at({zs[l], units}, member.activations(l), member.slopes(l), m, members);
        }
        if (slope) member.begin_backward(slope, d->size);
        else member.loss(d->y, nullptr, d->size, true, false);
        member.backward(d->x, d->size);
        member.write_changes(m, gw, gb);
        finite[m] &= member.finite();
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

}  // extern "C"
