// What probes need of many matrices, member after member.
#include <algorithm>
#include <cmath>
#include <new>
#include <vector>

#include "doubles.hpp"
#include "kernels.hpp"

namespace {

double sum_of_squares(const float *row, int64_t d) {
    vd squares{};
    int64_t j = 0;
    for (; j + DL <= d; j += DL) squares += widened(row + j) * widened(row + j);
    double sum = total(squares);
    for (; j < d; ++j) sum += (double)row[j] * row[j];
    return sum;
}

// Of a row along a line.
double place(const float *row, const double *line, int64_t d) {
    vd products{};
    int64_t j = 0;
    for (; j + DL <= d; j += DL) products += widened(row + j) * at(line + j);
    double sum = total(products);
    for (; j < d; ++j) sum += row[j] * line[j];
    return sum;
}

}  // namespace

extern "C" {

// rows: (members, n, d). lines: (count, d). may_copy: (members), whether on each of the lines two rows lie within
// `tolerance` of the largest norm. One line most often is enough.
int look_at_rows(const float *rows, int64_t members, int64_t n, int64_t d, const double *lines, int32_t count,
                 double tolerance, uint8_t *may_copy) try {
    std::vector<double> places(n);
    for (int64_t m = 0; m < members; ++m) {
        const float *own = rows + m * n * d;
        double largest = 0.0;
        for (int64_t i = 0; i < n; ++i) largest = std::max(largest, sum_of_squares(own + i * d, d));
        const double limit = tolerance * std::sqrt(largest);
        bool doubt = true;
        for (int k = 0; k < count && doubt; ++k) {
            for (int64_t i = 0; i < n; ++i) places[i] = place(own + i * d, lines + k * d, d);
            std::sort(places.begin(), places.end());
            doubt = false;
            for (int64_t i = 1; i < n; ++i) doubt = doubt || !(places[i] - places[i - 1] > limit);
        }
        may_copy[m] = doubt;
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

// rows: (members, n, d). pairs: (3, count), a member and two of its rows each. equal: (count), whether the rows are,
// number by number; a NaN equals a NaN.
int rows_equal(const float *rows, int64_t n, int64_t d, const int64_t *pairs, int64_t count, uint8_t *equal) {
    for (int64_t i = 0; i < count; ++i) {
        const float *own = rows + pairs[i] * n * d;
        const float *a = own + pairs[count + i] * d, *b = own + pairs[2 * count + i] * d;
        bool same = true;
        for (int64_t j = 0; j < d; ++j) same = same & ((a[j] == b[j]) | ((a[j] != a[j]) & (b[j] != b[j])));
        equal[i] = same;
    }
    return 0;
}

// x: (members, size). found: (2, members), sum of squares and variance.
int sums(const float *x, int64_t members, int64_t size, double *found) {
    for (int64_t m = 0; m < members; ++m) {
        const float *own = x + m * size;
        vd sum{}, square{}, away{};
        int64_t whole = 0;
        for (; whole + DL <= size; whole += DL) {
            const vd v = widened(own + whole);
            sum += v, square += v * v;
        }
        double mean = total(sum), squares = total(square);
        for (int64_t i = whole; i < size; ++i) mean += own[i], squares += (double)own[i] * own[i];
        mean /= size;
        for (int64_t i = 0; i < whole; i += DL) {
            const vd v = widened(own + i) - mean;
            away += v * v;
        }
        double variance = total(away);
        for (int64_t i = whole; i < size; ++i) variance += (own[i] - mean) * (own[i] - mean);
        found[m] = squares, found[members + m] = variance / size;
    }
    return 0;
}

// change, after: (members, size). found: (2, members), the sums of squares of change and of after - change.
int sums_of_change(const float *change, const float *after, int64_t members, int64_t size, double *found) {
    for (int64_t m = 0; m < members; ++m) {
        const float *c = change + m * size, *a = after + m * size;
        vd moved{}, before{};
        int64_t i = 0;
        for (; i + DL <= size; i += DL) {
            const vd u = widened(c + i), v = widened(a + i) - u;
            moved += u * u, before += v * v;
        }
        found[m] = total(moved), found[members + m] = total(before);
        for (; i < size; ++i) {
            const double u = c[i], v = a[i] - u;
            found[m] += u * u, found[members + m] += v * v;
        }
    }
    return 0;
}

// w: (members, n, d). sums: (members), of |cosine| over ordered pairs of different rows; a row of zeros has 0 with all.
int sum_cosines(const float *w, int64_t members, int64_t n, int64_t d, double *sums) try {
    const int wide_n = padded((int)n);
    std::vector<float> unit((size_t)n * d), turned((size_t)d * wide_n), gram((size_t)n * wide_n);
    for (int64_t m = 0; m < members; ++m) {
        for (int64_t i = 0; i < n; ++i) {
            const float *row = w + (m * n + i) * d;
            const double square = sum_of_squares(row, d);
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
