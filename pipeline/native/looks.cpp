// What probes need of many layers, member after member, each read once. Settings that are part of a
// definition are arguments, as pipeline/probes owns them.
#include <algorithm>
#include <new>
#include <vector>

#include "doubles.hpp"

namespace {

constexpr int SHORT = 16;  // sums in float32 are of so many at most
constexpr int MOST_LINES = 4;

inline vf least(vf a, vf b) { return pick(a < b, a, b); }
inline vf most(vf a, vf b) { return pick(a > b, a, b); }
inline void add(double *to, vf x) {
    for (int j = 0; j < VL; ++j) to[j] += x[j];
}

// The columns [from, from + n) of (samples, units), n <= VL, with zeros beside them.
void columns(const float *in, int64_t samples, int64_t units, int n, float *out) {
    if (n == VL) {
        for (int64_t i = 0; i < samples; ++i) store(out + i * VL, load(in + i * units));
        return;
    }
    for (int64_t i = 0; i < samples; ++i)
        for (int j = 0; j < VL; ++j) out[i * VL + j] = j < n ? in[i * units + j] : 0.0f;
}

// 2^-k for the k at which |x| 2^-k is in [1/2, 1); no further than float32 goes.
inline double scale_of(double size) {
    int exponent;
    std::frexp(size, &exponent);
    return std::ldexp(1.0, std::max(exponent, -125));
}

struct Spread {
    double low[VL], high[VL], mean[VL], variance[VL], size[VL], away[VL];
    bool varies[VL];
};

// Of VL units over samples, taken in parts of equal length. places: (parts, VL), what each part adds up
// to, where centred activations have norm 1 and the part's direction too; 0 for units that don't vary.
Spread spread(const float *a, int64_t samples, int parts, float middle, double varies, float *places) {
    const int64_t length = samples / parts;
    Spread found{};
    vf low = load(a), high = low;
    for (int64_t i = 0; i < samples;) {
        vf s{}, t{}, u{};
        for (int64_t end = std::min(samples, i + SHORT); i < end; ++i) {
            const vf x = load(a + i * VL);
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
                const vf x = load(a + i * VL) * factor - mean;
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
bool close(const float *places, const std::vector<char> &varies, int depth, int units, int wide, double apart,
           float *gram) {
    product(units, wide, depth, places, 1, wide, places, wide, nullptr, gram, wide);
    for (int i = 0; i < units; ++i) {
        const float *row = gram + (int64_t)i * wide;
        if (!varies[i]) continue;
        for (int j = 0; j < i; ++j)
            if (varies[j] && !(row[i] + gram[(int64_t)j * wide + j] - 2.0f * std::fabs(row[j]) > apart)) return true;
    }
    return false;
}

}  // namespace

extern "C" {

// z, a: (members, samples, units). found: low, high, mean, variance, mean |a|, mean |a - middle|, then for each
// threshold on how many samples z is above it, each (members, units). may_copy: (members), whether two units
// that vary, by more than `varies` of their size, may be closer than `apart` once centred and of norm 1.
int look(const float *z, const float *a, int64_t members, int64_t samples, int64_t units, const float *thresholds,
         int32_t count, float middle, int32_t parts, double varies, double apart, double *found,
         uint8_t *may_copy) try {
    const int wide_units = padded((int)units);
    std::vector<float> block(samples * VL), places((size_t)parts * wide_units), own(parts * VL),
        gram((size_t)units * wide_units);
    std::vector<char> vary(wide_units);
    const int64_t field = members * units;
    for (int64_t m = 0; m < members; ++m) {
        for (int from = 0; from < units; from += VL) {
            const int n = (int)std::min<int64_t>(VL, units - from);
            const int64_t at = m * samples * units + from;
            double *to = found + m * units + from;
            columns(z + at, samples, units, n, block.data());
            for (int k = 0; k < count; ++k) {
                vi above{};
                for (int64_t i = 0; i < samples; ++i) above -= load(&block[i * VL]) > all(thresholds[k]);
                for (int j = 0; j < n; ++j) to[(6 + k) * field + j] = above[j];
            }
            columns(a + at, samples, units, n, block.data());
            const Spread s = spread(block.data(), samples, parts, middle, varies, own.data());
            const double *fields[] = {s.low, s.high, s.mean, s.variance, s.size, s.away};
            for (int f = 0; f < 6; ++f) std::copy(fields[f], fields[f] + n, to + f * field);
            std::copy(s.varies, s.varies + VL, vary.begin() + from);
            for (int p = 0; p < parts; ++p) store(&places[(size_t)p * wide_units + from], load(&own[p * VL]));
        }
        may_copy[m] = close(places.data(), vary, parts, (int)units, wide_units, apart, gram.data());
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

// rows: (members, n, d). lines: (count, d), at most MOST_LINES. may_copy: (members), whether on each of the lines two rows lie within
// `tolerance` of the largest norm.
int look_at_rows(const float *rows, int64_t members, int64_t n, int64_t d, const double *lines, int32_t count,
                 double tolerance, uint8_t *may_copy) try {
    std::vector<double> places((size_t)count * n);
    for (int64_t m = 0; m < members; ++m) {
        double largest = 0.0;
        for (int64_t i = 0; i < n; ++i) {
            const float *row = rows + (m * n + i) * d;
            vd squares{}, sums[MOST_LINES] = {};
            int64_t whole = 0;
            for (; whole + DL <= d; whole += DL) {
                const vd x = widened(row + whole);
                squares += x * x;
                for (int k = 0; k < count; ++k) sums[k] += x * at(lines + k * d + whole);
            }
            double norm = total(squares);
            for (int64_t j = whole; j < d; ++j) norm += (double)row[j] * row[j];
            for (int k = 0; k < count; ++k) {
                double place = total(sums[k]);
                for (int64_t j = whole; j < d; ++j) place += row[j] * lines[k * d + j];
                places[k * n + i] = place;
            }
            largest = std::max(largest, norm);
        }
        const double limit = tolerance * std::sqrt(largest);
        bool doubt = true;
        for (int k = 0; k < count && doubt; ++k) {
            double *own = &places[k * n];
            std::sort(own, own + n);
            doubt = false;
            for (int64_t i = 1; i < n; ++i) doubt = doubt || !(own[i] - own[i - 1] > limit);
        }
        may_copy[m] = doubt;
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

// w: (members, n, d). sums: (members), of |cosine| over ordered pairs of different rows; a row of zeros has 0 with all.
int sum_cosines(const float *w, int64_t members, int64_t n, int64_t d, double *sums) try {
    const int wide_n = padded((int)n);
    std::vector<float> unit((size_t)n * d), turned((size_t)d * wide_n), gram((size_t)n * wide_n);
    for (int64_t m = 0; m < members; ++m) {
        for (int64_t i = 0; i < n; ++i) {
            const float *row = w + (m * n + i) * d;
            vd squares{};
            int64_t whole = 0;
            for (; whole + DL <= d; whole += DL) squares += widened(row + whole) * widened(row + whole);
            double square = total(squares);
            for (; whole < d; ++whole) square += (double)row[whole] * row[whole];
            const double factor = square > 0.0 ? 1.0 / std::sqrt(square) : 0.0;
            for (int64_t j = 0; j < d; ++j) unit[i * d + j] = (float)(row[j] * factor);
        }
        transpose((int)n, (int)d, unit.data(), d, turned.data(), wide_n);
        product((int)n, wide_n, (int)d, unit.data(), d, 1, turned.data(), wide_n, nullptr, gram.data(), wide_n);
        vf total{};
        for (int64_t i = 0; i < n; ++i) {
            float *row = &gram[i * wide_n];
            row[i] = 0.0f;
            for (int j = 0; j < wide_n; j += VL) total += at_most(magnitude(load(row + j)), 1.0f);
        }
        sums[m] = 0.0;
        for (int j = 0; j < VL; ++j) sums[m] += total[j];
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

}  // extern "C"
