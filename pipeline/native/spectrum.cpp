// Singular values of many small matrices, by the eigenvalues of their smaller Gram matrices in double precision:
// DL of them side by side, a matrix a lane, are made tridiagonal by Householder's reflections and go through the QL
// algorithm.
#include <algorithm>
#include <limits>
#include <new>

#include "buffer.hpp"
#include "doubles.hpp"

namespace {

constexpr int MAX_SWEEPS = 100;
constexpr int ROWS = 8;    // of a Gram matrix that are worked out at once, so that no addition waits for another
constexpr int GROUPS = 4;  // of DL matrices whose eigenvalues are, at most
constexpr double NOTHING = 1e-40;  // of a square: its root is far below the round-off of a largest entry of 1 or more
constexpr double EPS = std::numeric_limits<double>::epsilon();

inline bool any(vl mask) {
    int64_t found = 0;
    for (int j = 0; j < DL; ++j) found |= mask[j];
    return found;
}
inline vd root(vd x) {
    for (int j = 0; j < DL; ++j) x[j] = std::sqrt(x[j]);
    return x;
}

// Room for DL matrices at a time, whose numbers lie side by side, and for one by itself.
struct Bench {
    int n, d, k, depth, wide;        // k = min(n, d), depth the other; wide: k in whole ROWS
    Buffer turned;                   // (depth, padded(k))
    Doubles tall, square;            // (depth, wide), (ROWS, wide)
    Doubles g, v, p, next, product;  // a lower triangle, row after row; (k) each
    Bench(int n, int d)
        : n(n), d(d), k(std::min(n, d)), depth(std::max(n, d)), wide((k + ROWS - 1) / ROWS * ROWS),
          turned((size_t)depth * padded(k)), tall((size_t)depth * wide), square((size_t)ROWS * wide),
          g((size_t)k * (k + 1) / 2 * DL), v((size_t)k * DL), p((size_t)k * DL), next((size_t)k * DL),
          product((size_t)k * DL) {}
    double *row(int i) const { return g + (int64_t)i * (i + 1) / 2 * DL; }
};

float largest(const float *w, int64_t size) {
    vf most{};
    int64_t whole = 0;
    for (; whole + VL <= size; whole += VL) {
        const vf x = magnitude(load(w + whole));
        most = pick(x > most, x, most);
    }
    float found = 0.0f;
    for (int j = 0; j < VL; ++j) found = std::max(found, most[j]);
    for (; whole < size; ++whole) found = std::max(found, std::fabs(w[whole]));
    return found;
}

// The Gram matrix of the fewer of the rows and columns of w (n, d), divided by its largest entry, into a lane of b.g.
void gram(const float *w, int lane, Bench &b) {
    const float most = largest(w, (int64_t)b.n * b.d);
    const double factor = most > 0.0f ? 1.0 / most : 0.0;
    const int64_t stride = b.n < b.d ? padded(b.k) : b.k;
    if (b.n < b.d) transpose(b.n, b.d, w, b.d, b.turned, stride);
    const float *from = b.n < b.d ? (const float *)b.turned : w;
    for (int j = 0; j < b.depth; ++j)
        for (int i = 0; i < b.k; ++i) b.tall[(int64_t)j * b.wide + i] = from[j * stride + i] * factor;
    for (int i = 0; i < b.k; i += ROWS) {
        for (int c = 0; c < i + ROWS; c += DL) {
            vd sum[ROWS] = {};
            for (int j = 0; j < b.depth; ++j) {
                const double *row = b.tall + (int64_t)j * b.wide;
                const vd other = at(row + c);
                for (int r = 0; r < ROWS; ++r) sum[r] += row[i + r] * other;
            }
            for (int r = 0; r < ROWS; ++r) at(b.square + (int64_t)r * b.wide + c) = sum[r];
        }
        for (int r = 0; r < ROWS && i + r < b.k; ++r) {
            double *to = b.row(i + r) + lane;
            for (int c = 0; c <= i + r; ++c) to[c * DL] = b.square[(int64_t)r * b.wide + c];
        }
    }
}

// The reflection that leaves of the l entries of a row the last one: v, and 2 / |v|^2; both 0 where nothing is to do.
vd reflection(const double *row, int l, double *v, double *square) {
    vd tail{};
    for (int c = 0; c < l - 1; ++c) tail += at(row + c * DL) * at(row + c * DL);
    const vd first = at(row + (l - 1) * DL), whole = tail + first * first, size = root(whole);
    at(square) = whole;
    const vl due = tail > NOTHING;
    const vd last = first + pick(first < 0.0, -size, size);
    for (int c = 0; c < l - 1; ++c) at(v + c * DL) = pick(due, at(row + c * DL), vd{});
    at(v + (l - 1) * DL) = pick(due, last, vd{});
    return pick(due, 2.0 / pick(due, tail + last * last, vd{} + 1.0), vd{});
}

// Of COUNT rows from j on: takes v p' + p v' off them, and adds to `product` what they and their mirror images bring to
// that of the matrix and `next`. The rows before have been there.
template <int COUNT>
void turn(const Bench &b, int j) {
    double *rows[COUNT];
    vd v[COUNT], p[COUNT], next[COUNT], sum[COUNT] = {};
    for (int r = 0; r < COUNT; ++r) {
        rows[r] = b.row(j + r);
        v[r] = at(b.v + (j + r) * DL), p[r] = at(b.p + (j + r) * DL), next[r] = at(b.next + (j + r) * DL);
    }
    for (int64_t c = 0; c < (int64_t)j * DL; c += DL) {
        const vd vc = at(b.v + c), pc = at(b.p + c), nc = at(b.next + c);
        vd mirrored = at(b.product + c);
        for (int r = 0; r < COUNT; ++r) {
            const vd x = at(rows[r] + c) - v[r] * pc - p[r] * vc;
            at(rows[r] + c) = x;
            mirrored += next[r] * x, sum[r] += nc * x;
        }
        at(b.product + c) = mirrored;
    }
    for (int r = 0; r < COUNT; ++r)
        for (int q = 0; q <= r; ++q) {
            vd &entry = at(rows[r] + (j + q) * DL);
            entry -= v[r] * p[q] + p[r] * v[q];
            sum[r] += next[q] * entry;
            if (q < r) sum[q] += next[r] * entry;
        }
    for (int r = 0; r < COUNT; ++r) at(b.product + (j + r) * DL) = sum[r];
}

// Householder: diagonals and squares of the off-diagonals, (k, DL) each, of tridiagonal matrices similar to those in
// b.g, which are overwritten. From the last row up, so that what is left is the leading corner; each pass over it does
// a step's rotation and the product that the next step begins with.
void tridiagonal(Bench &b, double *diagonal, double *squares) {
    std::fill_n(&b.v[0], b.v.size(), 0.0);
    std::fill_n(&b.p[0], b.p.size(), 0.0);
    for (int l = b.k - 1; l > 0; --l) {
        double *row = b.row(l);
        // This row as the step before, (v, p), makes it.
        const vd vl = at(b.v + l * DL), pl = at(b.p + l * DL);
        for (int c = 0; c <= l; ++c) at(row + c * DL) -= vl * at(b.p + c * DL) + pl * at(b.v + c * DL);
        at(diagonal + l * DL) = at(row + l * DL);
        const vd beta = reflection(row, l, b.next, squares + (l - 1) * DL);
        int j = 0;
        for (; j + 4 <= l; j += 4) turn<4>(b, j);
        for (; j < l; ++j) turn<1>(b, j);
        vd sum{};
        for (int c = 0; c < l; ++c) sum += at(b.product + c * DL) * at(b.next + c * DL);
        const vd along = 0.5 * beta * beta * sum;
        for (int c = 0; c < l; ++c) at(b.p + c * DL) = beta * at(b.product + c * DL) - along * at(b.next + c * DL);
        std::swap(b.v, b.next);
    }
    at(diagonal) = at(b.g) - 2.0 * at(&b.v[0]) * at(&b.p[0]);
}

// A sweep of QL over DL matrices; lanes that aren't busy have converged and keep what they have.
struct Sweep {
    vl busy;
    vd sigma, c, s, gamma, p;

    void begin(const double *d, const double *e, int n, int l, vd small) {
        const vd lead = at(e + l * DL);
        busy = lead > small;
        const vd off = pick(busy, root(lead), vd{} + 1.0), first = at(d + l * DL);
        const vd half = (at(d + (l + 1) * DL) - first) / (2.0 * off), size = root(half * half + 1.0);
        sigma = first - off / (half + pick(half < 0.0, -size, size));
        c = vd{} + 1.0, s = vd{}, gamma = at(d + (n - 1) * DL) - sigma, p = gamma * gamma;
    }

    void at_row(double *d, double *e, int i, bool last) {
        const vd bb = at(e + i * DL), r = p + bb;
        if (!last) at(e + (i + 1) * DL) = pick(busy, s * r, at(e + (i + 1) * DL));
        const vl still = r < NOTHING, none = ~still & (p < NOTHING * r);  // nothing to turn; a quarter turn
        const vd one = vd{} + 1.0, before = c, old = gamma, alpha = at(d + i * DL);
        const vd both = one / pick(still | none, one, r * p), inverse = p * both;  // one division for 1 / r and r / p
        c = pick(still, one, pick(none, vd{}, p * inverse));
        s = pick(still, vd{}, pick(none, one, bb * inverse));
        gamma = c * (alpha - sigma) - s * old;
        at(d + (i + 1) * DL) = pick(busy, old + (alpha - gamma), at(d + (i + 1) * DL));
        p = pick(none, before * bb, gamma * gamma * pick(still, one, r * r * both));
    }

    void end(double *d, double *e, int l) {
        at(e + l * DL) = pick(busy, s * p, at(e + l * DL));
        at(d + l * DL) = pick(busy, sigma + gamma, at(d + l * DL));
    }
};

// The square-root-free QL algorithm of Pal, Walker & Kahan with Wilkinson's shift (Parlett 1998, "The symmetric
// eigenvalue problem", sec. 8.14 f.) on COUNT times DL matrices at once. d: (COUNT, n, DL), diagonals that become
// eigenvalues; e: (COUNT, n, DL), squares of the off-diagonals.
template <int COUNT>
bool eigenvalues(double *d, double *e, int n) {
    vd small[COUNT] = {};
    const int64_t group = (int64_t)n * DL;
    for (int g = 0; g < COUNT; ++g) {
        for (int i = 0; i < n; ++i) {
            const double *at_d = d + g * group + i * DL, *at_e = e + g * group + i * DL;
            const vd size = at(at_d) * at(at_d) + at(at_e);
            small[g] = pick(size > small[g], size, small[g]);
        }
        small[g] *= EPS * EPS;
    }
    for (int l = 0; l + 1 < n; ++l) {
        for (int sweep = 0;; ++sweep) {
            bool done = true;
            for (int g = 0; g < COUNT; ++g) done = done && !any(at(e + g * group + l * DL) > small[g]);
            if (done) break;
            if (sweep == MAX_SWEEPS) return false;
            Sweep sweeps[COUNT];
            for (int g = 0; g < COUNT; ++g) sweeps[g].begin(d + g * group, e + g * group, n, l, small[g]);
            for (int i = n - 2; i >= l; --i)
                for (int g = 0; g < COUNT; ++g) sweeps[g].at_row(d + g * group, e + g * group, i, i == n - 2);
            for (int g = 0; g < COUNT; ++g) sweeps[g].end(d + g * group, e + g * group, l);
        }
    }
    return true;
}

}  // namespace

extern "C" {

// w: (members, n, d). values: (members, min(n, d)), singular values of w divided by its largest entry, rising; 0
// where round-off in the Gram matrix hides them. Returns 0, 1 where memory has run out, 2 where nothing converged.
int singular_values(const float *w, int64_t members, int64_t n, int64_t d, double *values) try {
    Bench bench((int)n, (int)d);
    const int k = bench.k;
    const int64_t group = (int64_t)k * DL;
    Doubles diagonals(GROUPS * group), squares(GROUPS * group);
    for (int64_t from = 0; from < members; from += GROUPS * DL) {
        const int count = (int)std::min<int64_t>(GROUPS * DL, members - from);
        std::fill_n(&diagonals[0], diagonals.size(), 0.0);
        std::fill_n(&squares[0], squares.size(), 0.0);
        for (int first = 0; first < count; first += DL) {
            std::fill_n(&bench.g[0], bench.g.size(), 0.0);
            for (int lane = 0; lane < std::min(DL, count - first); ++lane) gram(w + (from + first + lane) * n * d, lane, bench);
            tridiagonal(bench, diagonals + first / DL * group, squares + first / DL * group);
        }
        // The divisions of one group fill the pauses of the others.
        const int groups = (count + DL - 1) / DL;
        const auto find = groups == 1 ? eigenvalues<1> : groups == 2 ? eigenvalues<2> : eigenvalues<GROUPS>;
        if (!find(diagonals, squares, k)) return 2;
        for (int matrix = 0; matrix < count; ++matrix) {
            double *own = values + (from + matrix) * k;
            const double *found = diagonals + matrix / DL * group + matrix % DL;
            for (int i = 0; i < k; ++i) own[i] = found[i * DL];
            std::sort(own, own + k);
            const double floor = k * EPS * own[k - 1];
            for (int i = 0; i < k; ++i) own[i] = own[i] > floor ? std::sqrt(own[i]) : 0.0;
        }
    }
    return 0;
} catch (const std::bad_alloc &) {
    return 1;
}

}  // extern "C"
