// Room for vectors.
#pragma once
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

// Zeros that begin at a cache line: vectors that lie across two take twice as long.
template <class T>
class Room {
public:
    explicit Room(size_t n) : size_(n) {
        if (posix_memalign(reinterpret_cast<void **>(&p_), 64, (n ? n : 1) * sizeof(T))) throw std::bad_alloc();
        std::memset(p_, 0, n * sizeof(T));
    }
    Room(Room &&o) noexcept : p_(o.p_), size_(o.size_) { o.p_ = nullptr; }
    Room &operator=(Room &&o) noexcept {
        std::swap(p_, o.p_), std::swap(size_, o.size_);
        return *this;
    }
    ~Room() { std::free(p_); }
    operator T *() const { return p_; }
    size_t size() const { return size_; }

private:
    T *p_ = nullptr;
    size_t size_;
};

typedef Room<float> Buffer;
typedef Room<double> Doubles;
