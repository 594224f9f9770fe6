// What probes need of many layers' signals, member after member, each read once.
#include "looks.hpp"

#include <algorithm>
#include <new>

#include "doubles.hpp"

namespace {

constexpr int SHORT = 16;  // sums in float32 are of so many at most

inline vf least(vf a, vf b) { return pick(a < b, a, b); }
inline vf most(vf a, vf b) { return pick(a > b, a, b); }
inline void add(double *to, vf x) {
    for (int j = 0; j < VL; ++j) to[j] += x[j];
}

// The columns [from, from + n) of (samples, units), n <= VL; where they are fewer, in `room`, with zeros beside them.
Signal columns(Signal in, int from, int64_t samples, int n, float *room) {
    if (n == VL) return {in.at + from, in.stride};
    for (int64_t i = 0; i < samples; ++i) {
        const float *row = in.at + i * in.stride + from;
        for (int j = 0; j < VL; ++j) room[i * VL + j] = j < n ? row[j] : 0.0f;
    }
    return {room, VL};
}

// On how many samples VL units are above each of COUNT thresholds: (COUNT, VL).
template <int COUNT>
void count_above(Signal z, int64_t samples, const float *thresholds, double *found) {
    vf limits[COUNT];
    vi above[COUNT] = {};
    for (int k = 0; k < COUNT; ++k) limits[k] = all(thresholds[k]);
    for (int64_t i = 0; i < samples; ++i) {
        const vf x = load(z.at + i * z.stride);
        for (int k = 0; k < COUNT; ++k) above[k] = x > limits[k] ? above[k] + 1 : above[k];
    }
    for (int k = 0; k < COUNT; ++k)
        for (int j = 0; j < VL; ++j) found[k * VL + j] = above[k][j];
}

// Each of any number of thresholds, as many as there is room for at once.
void count_above(Signal z, int64_t samples, const float *thresholds, int count, double *found) {
    switch (std::min(count, 6)) {
    case 0: return;
    case 1: count_above<1>(z, samples, thresholds, found); break;
    case 2: count_above<2>(z, samples, thresholds, found); break;
    case 3: count_above<3>(z, samples, thresholds, found); break;
    case 4: count_above<4>(z, samples, thresholds, found); break;
    case 5: count_above<5>(z, samples, thresholds, found); break;
    default: count_above<6>(z, samples, thresholds, found);
    }
    if (count > 6) count_above(z, samples, thresholds + 6, count - 6, found + 6 * VL);
}

// 2^-k for the k at which |x| 2^-k is in [1/2, 1); no further than float32 goes.
inline double scale_of(double size) {
    int exponent;
    std::frexp(size, &exponent);
    return std::ldexp(1.0, std::max(exponent, -125));
}

// Of VL units over samples.
void mean(Signal x, int64_t samples, double *means) {
    for (int64_t i = 0; i < samples;) {
        vf s{};
        for (int64_t end = std::min(samples, i + SHORT); i < end; ++i) s += load(x.at + i * x.stride);
        add(means, s);
    }
    for (int j = 0; j < VL; ++j) means[j] /= samples;
}

struct Spread {
    double low[VL], high[VL], mean[VL], variance[VL], size[VL], away[VL];
    bool varies[VL];
};

// Of VL units over samples, taken in parts of equal length. places: (parts, VL), what each part adds up
// to, where centred activations have norm 1 and the part's direction too; 0 for units that don't vary.
Spread spread(Signal a, int64_t samples, int parts, float middle, double varies, float *places) {
    const int64_t length = samples / parts;
    Spread found{};
    vf low = load(a.at), high = low;
    for (int64_t i = 0; i < samples;) {
        vf s{}, t{}, u{};
        for (int64_t end = std::min(samples, i + SHORT); i < end; ++i) {
            const vf x = load(a.at + i * a.stride);
            low = least(x, low), high = most(x, high);
            s += x, t += magnitude(x), u += magnitude(x - middle);
        }
        add(found.mean, s), add(found.size, t), add(found.away, u);
    }
    add(found.low, low), add(found.high, high);
    float factors[VL], means[VL];
    double scale[VL];
    for (int j = 0; j < VL; ++j) {
        found.mean[j] /= samples, found.size[j] /= samples, found.away[j] /= samples;
        scale[j] = scale_of(std::max(-found.low[j], found.high[j]));
        factors[j] = (float)(1.0 / scale[j]), means[j] = (float)(found.mean[j] / scale[j]);
    }
    const vf factor = load(factors), mean = load(means);
    std::vector<double> sums((size_t)parts * VL);
    double energy[VL] = {}, offset[VL] = {};
    for (int p = 0; p < parts; ++p)
        for (int64_t i = p * length; i < (p + 1) * length;) {
            vf s{}, e{};
            for (int64_t end = std::min((p + 1) * length, i + SHORT); i < end; ++i) {
                const vf x = load(a.at + i * a.stride) * factor - mean;
                s += x, e += x * x;
            }
            add(&sums[p * VL], s), add(energy, e), add(offset, s);
        }
    for (int j = 0; j < VL; ++j) {
        offset[j] /= samples, energy[j] -= samples * offset[j] * offset[j];
        found.variance[j] = scale[j] * scale[j] * energy[j] / samples;
        const double reach = found.high[j] - found.low[j], largest = std::max(-found.low[j], found.high[j]);
        found.varies[j] = reach > varies * largest;
        const double norm = found.varies[j] ? 1.0 / std::sqrt(length * energy[j]) : 0.0;
        for (int p = 0; p < parts; ++p) places[p * VL + j] = (float)((sums[p * VL + j] - length * offset[j]) * norm);
    }
    return found;
}

// Whether two of the units that vary, whose places are (depth, wide), may be as near as `apart`, up to the sign.
// squares: room for (wide).
bool close(const float *places, const std::vector<char> &varies, int depth, int units, int wide, float apart,
           float *gram, float *squares) {
    product(units, wide, depth, places, 1, wide, places, wide, nullptr, gram, wide);
    for (int j = 0; j < wide; ++j)  // what doesn't vary is far from everything
        squares[j] = j < units && varies[j] ? gram[(int64_t)j * wide + j] : HUGE_VALF;
    for (int i = 0; i < units; ++i) {
        if (!varies[i]) continue;
        float *row = gram + (int64_t)i * wide;
        row[i] = 0.0f;  // not itself; a place near 0 leaves doubt
        vi near{};
        for (int j = 0; j < wide; j += VL)
            near |= ~(squares[i] + load(squares + j) - 2.0f * magnitude(load(row + j)) > all(apart));
        for (int j = 0; j < VL; ++j)
            if (near[j]) return true;
    }
    return false;
}

}  // namespace

Looker::Looker(int64_t samples, int64_t units, const Look &what)
    : samples_(samples), units_(units), wide_(padded((int)units)), what_(what), block_(samples * VL),
      places_((size_t)what.parts * wide_), own_((size_t)what.parts * VL), above_((size_t)what.count * VL), gram_((size_t)units * wide_), squares_(wide_), varies_(wide_) {}

void Looker::at(Signal z, Signal a, Signal slope, int64_t m, int64_t members) {
    const int64_t field = members * units_;
    for (int from = 0; from < units_; from += VL) {
        const int n = (int)std::min<int64_t>(VL, units_ - from);
        double *to = what_.found + m * units_ + from;
        count_above(columns(z, from, samples_, n, block_), samples_, what_.thresholds, what_.count, above_);
        for (int k = 0; k < what_.count; ++k) std::copy_n(&above_[k * VL], n, to + (FIELDS + k) * field);
        const Spread s = spread(columns(a, from, samples_, n, block_), samples_, what_.parts, what_.middle, what_.varies, own_);
        double slopes[VL] = {};
        if (slope.at) {
            mean(columns(slope, from, samples_, n, block_), samples_, slopes);
        }
        const double *fields[FIELDS] = {s.low, s.high, s.mean, s.variance, s.size, s.away, slopes};
        for (int f = 0; f < FIELDS; ++f) std::copy(fields[f], fields[f] + n, to + f * field);
        std::copy(s.varies, s.varies + VL, varies_.begin() + from);
        for (int p = 0; p < what_.parts; ++p) store(&places_[(size_t)p * wide_ + from], load(&own_[p * VL]));
    }
    what_.may_copy[m] =
        close(places_, varies_, what_.parts, (int)units_, wide_, (float)what_.apart, gram_, squares_);
}

extern "C" {

// z, a: (members, samples, units). Of slopes nothing is said.
int look(const float *z, const float *a, int64_t members, int64_t samples, int64_t units, const Look *what) try {
    Looker looker(samples, units, *what);
    for (int64_t m = 0; m < members; ++m) {
        const int64_t at = m * samples * units;
        looker.at({z + at, units}, {a + at, units}, {nullptr, 0}, m, members);
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

}  // extern "C"
