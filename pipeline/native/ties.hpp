// Ties of the member at work: hidden neurons of a layer whose weights and biases are equal, number by number.
#pragma once
#include "layer.hpp"

// Pairs that are tied when a call begins, and what is seen of them. A NaN equals a NaN: divergence breaks no tie.
extern "C" struct Ties {
    const int64_t *starts;  // (members + 1): where each member's pairs begin
    const int64_t *pairs;   // (count, 3): hidden layer, neuron, its twin
    int64_t *parted;        // (members): the first step, from 1, after which two of a pair differed; 0: none
    int64_t *gone;          // null, or likewise: after which no two neurons of any hidden layer were tied
};

namespace {

// Watches one member.
class TieWatch {
public:
    TieWatch(const Ties &ties, int64_t m) : parted_(ties.parted[m]), gone_(ties.gone ? &ties.gone[m] : nullptr) {
        for (int64_t i = ties.starts[m]; i < ties.starts[m + 1]; ++i)
            pairs_.push_back({ties.pairs[3 * i], ties.pairs[3 * i + 1], ties.pairs[3 * i + 2]});
        done_ = pairs_.empty();
    }

    void after(int64_t step, const std::vector<Layer> &layers) {
        if (done_) return;
        bool left = false;
        for (const Pair &p : pairs_) {
            if (tied(layers[p.layer], p.neuron, p.twin)) left = true;
            else if (!parted_) parted_ = step;
            if (left && parted_) break;
        }
        if (!gone_) {
            done_ = parted_ != 0;
        } else if (!left && !find(layers)) {  // none of the known pairs; two others may be tied
            *gone_ = step;
            done_ = true;
        }
    }

private:
    struct Pair { int64_t layer, neuron, twin; };

    static bool same(float a, float b) { return a == b || (a != a && b != b); }

    static bool tied(const Layer &k, int64_t a, int64_t b) {
        if (k.bias && !same(k.b[a], k.b[b])) return false;
        const float *w = k.w;
        for (int i = 0; i < k.in; ++i, w += k.wide)
            if (!same(w[a], w[b])) return false;
        return true;
    }

    bool find(const std::vector<Layer> &layers) {
        pairs_.clear();
        for (size_t l = 0; l + 1 < layers.size(); ++l)
            for (int64_t j = 1; j < layers[l].out; ++j)
                for (int64_t i = 0; i < j; ++i)
                    if (tied(layers[l], j, i)) {
                        pairs_.push_back({(int64_t)l, j, i});
                        break;
                    }
        return !pairs_.empty();
    }

    int64_t &parted_, *gone_;
    std::vector<Pair> pairs_;
    bool done_;
};

}  // namespace
