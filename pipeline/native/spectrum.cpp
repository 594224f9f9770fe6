// Singular values of many small matrices, by the eigenvalues of their smaller Gram matrices in double precision:
// each is made tridiagonal by Householder's reflections, then DL of them go through the QL algorithm side by side.
#include <algorithm>
#include <limits>
#include <new>
#include <vector>

#include "doubles.hpp"

namespace {

constexpr int MAX_SWEEPS = 100;
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
// Room for one matrix at a time.
struct Bench {
    int n, d, k, depth, wide;                // k = min(n, d), depth the other; wide: k in whole vectors
    std::vector<float> turned;               // (depth, padded(k))
    std::vector<double> tall, g, v, p, next;  // (depth, wide), (wide, wide), (wide) each
    Bench(int n, int d)
        : n(n), d(d), k(std::min(n, d)), depth(std::max(n, d)), wide(whole_doubles(k)),
          turned((size_t)depth * padded(k)), tall((size_t)depth * wide), g((size_t)wide * wide), v(wide), p(wide),
          next(wide) {}
};

// The Gram matrix of the fewer of the rows and columns of w (n, d), divided by its largest entry, into b.g.
void gram(const float *w, Bench &b) {
    vf most{};
    const int64_t size = (int64_t)b.n * b.d;
    int64_t whole = 0;
    for (; whole + VL <= size; whole += VL) {
        const vf x = magnitude(load(w + whole));
        most = pick(x > most, x, most);
    }
    float largest = 0.0f;
    for (int j = 0; j < VL; ++j) largest = std::max(largest, most[j]);
    for (; whole < size; ++whole) largest = std::max(largest, std::fabs(w[whole]));
    const double factor = largest > 0.0f ? 1.0 / largest : 0.0;
    const int64_t stride = b.n <= b.d ? padded(b.k) : b.k;
    if (b.n <= b.d) transpose(b.n, b.d, w, b.d, b.turned.data(), stride);
    const float *from = b.n <= b.d ? b.turned.data() : w;
    for (int j = 0; j < b.depth; ++j)
        for (int i = 0; i < b.k; ++i) b.tall[(int64_t)j * b.wide + i] = from[j * stride + i] * factor;
    for (int i = 0; i < b.wide; i += 4)
        for (int c = 0; c <= i; c += DL) {
            vd sum[4] = {};
            for (int j = 0; j < b.depth; ++j) {
                const double *row = &b.tall[(int64_t)j * b.wide];
                const vd other = at(row + c);
                for (int r = 0; r < 4; ++r) sum[r] += row[i + r] * other;
            }
            for (int r = 0; r < 4; ++r) at(&b.g[(int64_t)(i + r) * b.wide + c]) = sum[r];
        }
    for (int i = 0; i < b.k; ++i)
        for (int j = i + 1; j < b.k; ++j) b.g[(int64_t)i * b.wide + j] = b.g[(int64_t)j * b.wide + i];
}

// The reflection that leaves of the l entries of a row the last one: v, and 2 / |v|^2; 0 where nothing is to do.
double reflection(const double *row, int l, int wide, double *v, double *square) {
    vd sum{};
    for (int j = 0; j < wide; ++j) v[j] = j < l ? row[j] : 0.0;
    const double first = v[l - 1];
    v[l - 1] = 0.0;
    for (int j = 0; j < wide; j += DL) sum += at(v + j) * at(v + j);
    const double tail = total(sum);
    *square = tail + first * first;
    if (tail == 0.0) return 0.0;
    v[l - 1] = first + (first < 0.0 ? -std::sqrt(*square) : std::sqrt(*square));
    return 2.0 / (tail + v[l - 1] * v[l - 1]);
}

// Takes v p' + p v' off the leading l rows of g, whose rows lie `wide` apart, and adds up next[j] times those rows
// into sum. (Pointers of its own, so that the compiler knows they stay.)
void turn(double *g, int wide, int l, const double *v, const double *p, const double *next, double *sum) {
    const int end = whole_doubles(l);
    for (int c = 0; c < end; ++c) sum[c] = 0.0;
    for (int j = 0; j < l; j += 4) {
        const double v0 = v[j], v1 = v[j + 1], v2 = v[j + 2], v3 = v[j + 3];
        const double p0 = p[j], p1 = p[j + 1], p2 = p[j + 2], p3 = p[j + 3];
        const double n0 = next[j], n1 = next[j + 1], n2 = next[j + 2], n3 = next[j + 3];
        double *r0 = g + (int64_t)j * wide, *r1 = r0 + wide, *r2 = r1 + wide, *r3 = r2 + wide;
        for (int c = 0; c < end; c += DL) {
            const vd vc = at(v + c), pc = at(p + c);
            const vd x0 = at(r0 + c) - (v0 * pc + p0 * vc), x1 = at(r1 + c) - (v1 * pc + p1 * vc);
            const vd x2 = at(r2 + c) - (v2 * pc + p2 * vc), x3 = at(r3 + c) - (v3 * pc + p3 * vc);
            at(r0 + c) = x0, at(r1 + c) = x1, at(r2 + c) = x2, at(r3 + c) = x3;
            at(sum + c) += (n0 * x0 + n1 * x1) + (n2 * x2 + n3 * x3);
        }
    }
}

// Householder: diagonal and squares of the off-diagonal of a tridiagonal matrix similar to b.g, which is overwritten.
// From the last row up, so that what is left is the leading corner; each pass over it does a step's rotation
// and the product that the next step begins with.
void tridiagonal(Bench &b, double *diagonal, double *squares) {
    std::vector<double> product(b.wide);
    std::fill(b.v.begin(), b.v.end(), 0.0);
    std::fill(b.p.begin(), b.p.end(), 0.0);
    for (int l = b.k - 1; l > 0; --l) {
        double *row = &b.g[(int64_t)l * b.wide];
        // This row as the step before, (v, p), makes it.
        for (int c = 0; c < b.wide; c += DL) at(row + c) -= b.v[l] * at(&b.p[c]) + b.p[l] * at(&b.v[c]);
        diagonal[l] = row[l];
        const double beta = reflection(row, l, b.wide, b.next.data(), squares + l - 1);
        if (beta == 0.0) std::fill(b.next.begin(), b.next.end(), 0.0);
        turn(b.g.data(), b.wide, l, b.v.data(), b.p.data(), b.next.data(), product.data());
        vd sum{};
        const int end = whole_doubles(l);
        for (int c = 0; c < end; c += DL) sum += at(&product[c]) * at(&b.next[c]);
        const double along = 0.5 * beta * beta * total(sum);
        for (int c = 0; c < b.wide; c += DL)
            at(&b.p[c]) = c < end ? beta * at(&product[c]) - along * at(&b.next[c]) : vd{};
        for (int c = l; c < b.wide; ++c) b.p[c] = 0.0;
        std::swap(b.v, b.next);
    }
    diagonal[0] = b.g[0] - 2.0 * b.v[0] * b.p[0];
}

// The square-root-free QL algorithm of Pal, Walker & Kahan with Wilkinson's shift (Parlett 1998, "The symmetric
// eigenvalue problem", sec. 8.14 f.) on DL matrices at once. d: (n, DL), diagonals that become eigenvalues;
// e: (n, DL), squares of the off-diagonals. A lane waits for the others where it has converged.
bool eigenvalues(double *d, double *e, int n) {
    vd scale{};
    for (int i = 0; i < n; ++i) {
        const vd size = at(d + i * DL) * at(d + i * DL) + at(e + i * DL);
        scale = pick(size > scale, size, scale);
    }
    const vd small = scale * (EPS * EPS);
    for (int l = 0; l + 1 < n; ++l) {
        for (int sweep = 0;; ++sweep) {
            const vd lead = at(e + l * DL);
            const vl busy = lead > small;
            if (!any(busy)) break;
            if (sweep == MAX_SWEEPS) return false;
            const vd off = pick(busy, root(lead), vd{} + 1.0), first = at(d + l * DL);
            const vd half = (at(d + (l + 1) * DL) - first) / (2.0 * off), size = root(half * half + 1.0);
            const vd sigma = first - off / (half + pick(half < 0.0, -size, size));
            vd c = vd{} + 1.0, s{}, gamma = at(d + (n - 1) * DL) - sigma, p = gamma * gamma;
            for (int i = n - 2; i >= l; --i) {
                const vd bb = at(e + i * DL), r = p + bb;
                if (i < n - 2) at(e + (i + 1) * DL) = pick(busy, s * r, at(e + (i + 1) * DL));
                const vl still = r == 0.0;  // nothing to turn
                const vd inverse = 1.0 / pick(still, vd{} + 1.0, r), before = c, old = gamma, alpha = at(d + i * DL);
                c = pick(still, vd{} + 1.0, p * inverse);
                s = bb * inverse;
                gamma = c * (alpha - sigma) - s * old;
                at(d + (i + 1) * DL) = pick(busy, old + (alpha - gamma), at(d + (i + 1) * DL));
                const vl none = c == 0.0;
                p = pick(none, before * bb, gamma * gamma / pick(none, vd{} + 1.0, c));
            }
            at(e + l * DL) = pick(busy, s * p, at(e + l * DL));
            at(d + l * DL) = pick(busy, sigma + gamma, at(d + l * DL));
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
    std::vector<double> diagonal(k), squares(k), ds((size_t)k * DL), es((size_t)k * DL);
    for (int64_t from = 0; from < members; from += DL) {
        const int lanes = (int)std::min<int64_t>(DL, members - from);
        std::fill(ds.begin(), ds.end(), 0.0);
        std::fill(es.begin(), es.end(), 0.0);
        for (int lane = 0; lane < lanes; ++lane) {
            gram(w + (from + lane) * n * d, bench);
            tridiagonal(bench, diagonal.data(), squares.data());
            for (int i = 0; i < k; ++i) ds[i * DL + lane] = diagonal[i], es[i * DL + lane] = i + 1 < k ? squares[i] : 0.0;
        }
        if (!eigenvalues(ds.data(), es.data(), k)) return 2;
        for (int lane = 0; lane < lanes; ++lane) {
            double *own = values + (from + lane) * k;
            for (int i = 0; i < k; ++i) own[i] = ds[i * DL + lane];
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
