// What probes need of many matrices, member after member.
#include <algorithm>
#include <cmath>
#include <new>

#include "buffer.hpp"
#include "doubles.hpp"
#include "kernels.hpp"

namespace {

constexpr int64_t FEW = 256;  // numbers that are sooner compared all with all than sorted

vd all_of(const vd *sums) { return (sums[0] + sums[1]) + (sums[2] + sums[3]); }

double sum_of_squares(const float *row, int64_t d) {
    vd squares{};
    int64_t j = 0;
    for (; j + DL <= d; j += DL) squares += widened(row + j) * widened(row + j);
    double sum = total(squares);
    for (; j < d; ++j) sum += (double)row[j] * row[j];
    return sum;
}

// Squared norms of some vectors, and their places along a line.
struct Marks {
    Doubles squares, places;
    explicit Marks(int64_t n) : squares(n), places(n + DL) {}
};

// Of COUNT rows from row i of (n, d) on.
template <int COUNT>
void mark(const float *rows, int64_t d, const double *line, int64_t i, Marks &marks) {
    vd square[COUNT] = {}, product[COUNT] = {};
    int64_t j = 0;
    for (; j + DL <= d; j += DL)
        for (int r = 0; r < COUNT; ++r) {
            const vd x = widened(rows + (i + r) * d + j);
            square[r] += x * x, product[r] += x * at(line + j);
        }
    for (int r = 0; r < COUNT; ++r) {
        double sum = total(square[r]), along = total(product[r]);
        for (int64_t rest = j; rest < d; ++rest) {
            const double x = rows[(i + r) * d + rest];
            sum += x * x, along += x * line[rest];
        }
        marks.squares[i + r] = sum, marks.places[i + r] = along;
    }
}

void mark_rows(const float *rows, int64_t n, int64_t d, const double *line, Marks &marks) {
    int64_t i = 0;
    for (; i + 4 <= n; i += 4) mark<4>(rows, d, line, i, marks);
    for (; i < n; ++i) mark<1>(rows, d, line, i, marks);
}

// Of the columns of (d, n).
void mark_columns(const float *columns, int64_t n, int64_t d, const double *line, Marks &marks) {
    std::fill_n(&marks.squares[0], n, 0.0);
    std::fill_n(&marks.places[0], n, 0.0);
    for (int64_t i = 0; i < d; ++i, columns += n) {
        int64_t j = 0;
        for (; j + DL <= n; j += DL) {
            const vd x = widened(columns + j);
            at(marks.squares + j) += x * x, at(marks.places + j) += line[i] * x;
        }
        for (; j < n; ++j) {
            const double x = columns[j];
            marks.squares[j] += x * x, marks.places[j] += line[i] * x;
        }
    }
}

// Whether two of n places lie within `tolerance` of the largest norm.
bool near(Marks &marks, int64_t n, double tolerance) {
    double *places = marks.places;
    const double limit = tolerance * std::sqrt(*std::max_element(&marks.squares[0], marks.squares + n));
    if (n > FEW) {
        std::sort(places, places + n);
        bool found = false;
        for (int64_t i = 1; i < n; ++i) found |= !(places[i] - places[i - 1] > limit);
        return found;
    }
    std::fill_n(places + n, DL, HUGE_VAL);  // far from all
    vl found{};
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = i + 1; j < n; j += DL) {
            const vd away = at(places + j) - places[i];
            found |= ~((away > limit) | (-away > limit));
        }
    for (int j = 0; j < DL; ++j)
        if (found[j]) return true;
    return false;
}

}  // namespace

extern "C" {

// vectors: (members, n, d), or (members, d, n) if `columns`. last: null, or one more entry of each, (members, n).
// lines: (count, d), or d + 1 then. may_copy: (members), whether on each of the lines two vectors lie within
// `tolerance` of the largest norm. One line most often is enough.
int look_at_rows(const float *vectors, int32_t columns, const float *last, int64_t members, int64_t n, int64_t d,
                 const double *lines, int32_t count, double tolerance, uint8_t *may_copy) try {
    Marks marks(n);
    const int64_t entries = d + (last != nullptr);
    for (int64_t m = 0; m < members; ++m) {
        bool doubt = true;
        for (int k = 0; k < count && doubt; ++k) {
            const double *line = lines + k * entries;
            (columns ? mark_columns : mark_rows)(vectors + m * n * d, n, d, line, marks);
            for (int64_t i = 0; last && i < n; ++i) {
                const double x = last[m * n + i];
                marks.squares[i] += x * x, marks.places[i] += x * line[d];
            }
            doubt = near(marks, n, tolerance);
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
    constexpr int STEP = 4 * DL;  // in sums of their own, so that no addition waits for another
    for (int64_t m = 0; m < members; ++m) {
        const float *own = x + m * size;
        vd sum[4] = {}, square[4] = {}, away[4] = {};
        const int64_t whole = size / STEP * STEP;
        for (int64_t i = 0; i < whole; i += STEP)
            for (int k = 0; k < 4; ++k) {
                const vd v = widened(own + i + k * DL);
                sum[k] += v, square[k] += v * v;
            }
        double mean = total(all_of(sum)), squares = total(all_of(square));
        for (int64_t i = whole; i < size; ++i) mean += own[i], squares += (double)own[i] * own[i];
        mean /= size;
        for (int64_t i = 0; i < whole; i += STEP)
            for (int k = 0; k < 4; ++k) {
                const vd v = widened(own + i + k * DL) - mean;
                away[k] += v * v;
            }
        double variance = total(all_of(away));
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

// w: (members, n, d). found: (2, members), the sum of |cosine| over ordered pairs of different rows, where a row of
// zeros has 0 with all; and how many of those there are.
int sum_cosines(const float *w, int64_t members, int64_t n, int64_t d, double *found) try {
    const int wide_n = padded((int)n);
    Buffer unit((size_t)n * d), turned((size_t)d * wide_n), gram((size_t)n * wide_n);
    for (int64_t m = 0; m < members; ++m) {
        int64_t zeros = 0;
        for (int64_t i = 0; i < n; ++i) {
            const float *row = w + (m * n + i) * d;
            const double square = sum_of_squares(row, d);
            zeros += square == 0.0;
            const double factor = square > 0.0 ? 1.0 / std::sqrt(square) : 0.0;
            for (int64_t j = 0; j < d; ++j) unit[i * d + j] = (float)(row[j] * factor);
        }
        transpose((int)n, (int)d, unit, d, turned, wide_n);
        product((int)n, wide_n, (int)d, unit, d, 1, turned, wide_n, nullptr, gram, wide_n);
        vf total{};
        for (int64_t i = 0; i < n; ++i) {
            float *row = &gram[i * wide_n];
            row[i] = 0.0f;
            for (int j = 0; j < wide_n; j += VL) total += at_most(magnitude(load(row + j)), 1.0f);
        }
        double sum = 0.0;
        for (int j = 0; j < VL; ++j) sum += total[j];
        found[m] = sum, found[members + m] = (double)zeros;
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

}  // extern "C"
