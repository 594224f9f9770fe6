// Multilayer perceptrons, many of them: training, evaluation and gradients, member after member,
// so that one member's tensors stay in the cache. A member's numbers depend on it alone.
#include <algorithm>
#include <new>
#include <vector>

#include "kernels.hpp"
#include "layer.hpp"
#include "looks.hpp"
#include "ties.hpp"

namespace {

constexpr int PASS_ROWS = 64;  // of a pass for gradients, as in training

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
            if (!k.first && backwards) {
                const float *w = net_.w[l] + m * (int64_t)k.in * k.out;
                for (int i = 0; i < k.out; ++i) std::memcpy(k.back + (long)i * padded(k.in), w + (long)i * k.in, k.in * sizeof(float));
            }
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

    // Of the rows [from, from + n) of x. z, if not null: where to put the pre-activations of each hidden layer
    // (rows, units).
    void forward(const float *x, int from, int n, float *const *z = nullptr, float *const *a = nullptr) {
        const float *h = x;
        long stride = net_.sizes[0];
        for (size_t l = 0; l < layers_.size(); ++l) {
            Layer &k = layers_[l];
            product(n, k.wide, k.in, h + from * stride, stride, 1, k.w, k.wide, k.b, k.a + (long)from * k.wide, k.wide);
            if (k.kind >= 0) {
                if (z) copy(from, n, k, k.a, z[l]);
                activate(k, from, n);
                if (a) copy(from, n, k, k.a, a[l]);
            }
            h = k.a;
            stride = k.wide;
        }
    }

    // Loss and hits of the logits of the rows [from, from + n) that forward() left. Where delta is asked for, the
    // gradient by them of the mean over so many rows. strict: a row with a logit that isn't finite is no hit.
    Sums loss(const int64_t *y, const int64_t *rows, int from, int n, int delta, bool strict) {
        Layer &k = layers_.back();
        Sums sums{0.0, 0};
        const float share = 1.0f / delta;
        for (int i = from; i < from + n; i += VL) {
            const int m = from + n - i < VL ? from + n - i : VL;
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

    const std::vector<Layer> &layers() const { return layers_; }
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

    // From the output's delta to every gradient, of the rows [from, from + n); with that of the rows before.
    void backward(const float *x, int from, int n) {
        for (int l = net_.layers - 1; l >= 0; --l) {
            Layer &k = layers_[l];
            const float *h = l ? (const float *)layers_[l - 1].a : x;
            const long stride = l ? layers_[l - 1].wide : net_.sizes[0];
            const float *delta = k.delta + (long)from * k.wide, *before = from ? (const float *)k.gw : nullptr;
            product(k.in, k.wide, n, h + from * stride, 1, stride, delta, k.wide, before, k.gw, k.wide, k.wide);
            if (k.bias) sum_rows(k, from, n);
            if (!l) break;
            Layer &below = layers_[l - 1];
            const long begin = (long)from * below.wide, end = begin + (long)n * below.wide;
            product(n, below.wide, k.out, delta, k.wide, 1, k.back, below.wide, nullptr, below.delta + begin, below.wide);
            for (long i = begin; i < end; i += VL) store(below.delta + i, load(below.delta + i) * load(below.slope + i));
        }
    }

    // One step. keep: whether gradients become updates.
    void step(const Optimizer &o, float lr, float decay, int64_t t, bool keep) {
        for (Layer &k : layers_) {
            update(o, lr, decay, t, k.w.size(), k.w, k.gw, k.mw, keep);
            if (k.bias) update(o, lr, decay, t, k.b.size(), k.b, k.gb, k.mb, keep);
            if (!k.first) transpose(k.in, k.out, k.w, k.wide, k.back, padded(k.in));
        }
    }

private:
    const Net &net_;
    Buffer x_, classes_;  // of a batch; the logits of VL rows (classes, VL)
    std::vector<Layer> layers_;
};

}  // namespace

extern "C" {

// Trains members [from, to) for d.steps steps. loss, hits: (members, steps). uw, ub: null, or where
// the last step's updates go. ties: so many, to be watched. Returns 0, or 1 where memory has run out.
int train(const Net *net, const Optimizer *o, const Batches *d, int64_t from, int64_t to, float *loss, int32_t *hits,
          float *const *uw, float *const *ub, const Ties *ties, int64_t watched) try {
    Member member(*net, d->size, moments(*o));
    for (int64_t m = from; m < to; ++m) {
        member.read(m, true, o);
        std::vector<TieWatch> watches;
        for (int64_t i = 0; i < watched; ++i) watches.emplace_back(ties[i], m);
        for (int s = 0; s < d->steps; ++s) {
            const int64_t *rows = d->rows + m * d->row_stride + (int64_t)s * d->size;
            const float *x = member.gather(*d, rows, d->size);
            member.forward(x, 0, d->size);
            const Sums sums = member.loss(d->y, rows, 0, d->size, d->size, false);
            loss[m * d->steps + s] = (float)(sums.loss / d->size);
            hits[m * d->steps + s] = (int32_t)sums.hits;
            member.backward(x, 0, d->size);
            member.step(*o, o->lr[m], o->decay[m], o->steps[m] + s + 1, uw && s + 1 == d->steps);
            for (TieWatch &watch : watches) watch.after(s + 1, member.layers());
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
            member.forward(d->x + i * net->sizes[0], 0, n);
            const Sums sums = member.loss(d->y + i, nullptr, 0, n, 0, true);
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
        if (slope) member.begin_backward(slope, d->size);
        // A few rows at a time, which stay in the nearest cache until all is done with them.
        for (int from = 0; from < d->size; from += PASS_ROWS) {
            const int n = std::min(PASS_ROWS, d->size - from);
            member.forward(d->x, from, n, zs.data(), a ? as.data() : nullptr);
            if (!slope) member.loss(d->y, nullptr, from, n, d->size, false);
            member.backward(d->x, from, n);
        }
        finite[m] = 1;
        for (int l = 0; l < hidden; ++l) {
            const int units = net->sizes[l + 1];
            finite[m] &= all_finite(zs[l], (int64_t)d->size * units);
            if (looks) lookers[l].at({zs[l], units}, member.activations(l), member.slopes(l), m, members);
        }
        member.write_changes(m, gw, gb);
        finite[m] &= member.finite();
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

}  // extern "C"
