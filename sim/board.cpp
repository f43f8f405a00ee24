// A board at the end of a pseudo-terminal: what is written there goes bit by bit into the design's rx, what its tx sends
// can be read there.
//
//   board FD CLOCKS SEED DROP FLIP EXTRA
//
// FD is the terminal's master side, CLOCKS are those of a bit on the host's side, DROP, FLIP and EXTRA are the chances of
// a byte, in either direction, to be lost, to have a bit changed, and to be followed by one of noise. The clock stands
// still while nothing happens. The program ends when its standard input does, and says what it has done.

#include "board.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <deque>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

namespace {

[[noreturn]] void die(const char* text) {
    std::fprintf(stderr, "board: %s\n", text);
    std::exit(2);
}

// splitmix64.
class Random {
public:
    explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
    uint64_t bits() {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    bool happens(double chance) { return chance > 0 && static_cast<double>(bits() >> 11) * 0x1p-53 < chance; }

private:
    uint64_t state;
};

class Faults {
public:
    Faults(uint64_t seed, double drop, double flip, double extra) : random(seed), drop(drop), flip(flip), extra(extra) {}
    uint64_t count = 0;
    void pass(Byte byte, std::deque<Byte>& to) {
        if (random.happens(drop)) {
            ++count;
            return;
        }
        if (random.happens(flip)) {
            ++count;
            byte ^= static_cast<Byte>(1u << random.bits() % 8);
        }
        to.push_back(byte);
        if (random.happens(extra)) {
            ++count;
            to.push_back(static_cast<Byte>(random.bits()));
        }
    }

private:
    Random random;
    double drop, flip, extra;
};

// The host's half of a UART, of a bit of any number of cycles.
class Sender {
public:
    explicit Sender(double clocks) : clocks(clocks) {}
    std::deque<Byte> bytes;
    bool idle() const { return left == 0 && bytes.empty(); }
    bool next(uint64_t now) {
        const double time = static_cast<double>(now);
        if (left && time >= edge) {
            word >>= 1;
            if (--left) edge += clocks;
        }
        if (!left && !bytes.empty()) {
            word = 0x200u | static_cast<unsigned>(bytes.front()) << 1;
            bytes.pop_front();
            left = 10;
            if (edge + clocks < time) edge = time;  // not right behind the last one
            edge += clocks;
        }
        return left ? word & 1u : true;
    }

private:
    double clocks, edge = 0;
    unsigned word = 0, left = 0;
};

class Receiver {
public:
    explicit Receiver(double clocks) : clocks(clocks) {}
    uint64_t broken = 0;
    bool idle() const { return left == 0; }
    // Whether `byte` has come.
    bool next(uint64_t now, bool line, Byte& byte) {
        const double time = static_cast<double>(now);
        bool came = false;
        if (!left) {
            if (before && !line) {
                left = 10;
                sample = time + clocks / 2 - 0.5;
            }
        } else if (time >= sample) {
            sample += clocks;
            if (--left) {
                word = word >> 1 | static_cast<unsigned>(line) << 8;
            } else if (line) {
                byte = static_cast<Byte>(word >> 1);
                came = true;
            } else {
                ++broken;
            }
        }
        before = line;
        return came;
    }

private:
    double clocks, sample = 0;
    unsigned word = 0, left = 0;
    bool before = true;
};

constexpr uint64_t LOOK = 256;           // cycles between two looks at the terminal
constexpr uint64_t REST = 4096;          // after so many without work the clock stops
constexpr uint64_t STUCK = 20'000'000;   // likewise of a core that never ends
constexpr size_t MOST = 1024;            // bytes taken from the terminal before they are sent

class Terminal {
public:
    explicit Terminal(int fd) : fd(fd) {
        if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) die("not a file descriptor");
    }
    std::deque<Byte> out;

    void take(Faults& faults, std::deque<Byte>& to) {
        Byte block[MOST];
        if (to.size() >= MOST) return;
        const ssize_t count = ::read(fd, block, MOST - to.size());
        for (ssize_t i = 0; i < count; ++i) faults.pass(block[i], to);
    }
    void give() {
        while (!out.empty()) {
            Byte block[MOST];
            size_t count = 0;
            while (count < MOST && count < out.size()) block[count] = out[count], ++count;
            const ssize_t gone = ::write(fd, block, count);
            if (gone <= 0) return;
            out.erase(out.begin(), out.begin() + gone);
        }
    }
    // Waits at most so many milliseconds for something to read; false when nobody wants the board any more.
    bool wait(int milliseconds) {
        pollfd both[] = {{0, 0, 0}, {fd, static_cast<short>(POLLIN | (out.empty() ? 0 : POLLOUT)), 0}};
        ::poll(both, 2, milliseconds);
        if (both[0].revents & (POLLHUP | POLLERR)) return false;
        // Nobody has the other side open: that is no reason to spin.
        if (milliseconds && both[1].revents & POLLHUP && !(both[1].revents & POLLIN)) ::usleep(20'000);
        return true;
    }

private:
    int fd;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 7) die("usage: board FD CLOCKS SEED DROP FLIP EXTRA");
    Terminal terminal(std::atoi(argv[1]));
    const double clocks = std::atof(argv[2]);
    const uint64_t seed = std::strtoull(argv[3], nullptr, 10);
    Faults inward(2 * seed, std::atof(argv[4]), std::atof(argv[5]), std::atof(argv[6]));
    Faults outward(2 * seed + 1, std::atof(argv[4]), std::atof(argv[5]), std::atof(argv[6]));
    Sender sender(clocks);
    Receiver receiver(clocks);
    const auto board = make_board(static_cast<uint32_t>(seed));

    uint64_t quiet = 0;
    for (uint64_t now = 0;; ++now) {
        *board->reset = now < 4;
        *board->rx = now < 8 || sender.next(now);
        *board->clock = 0;
        board->eval();
        *board->clock = 1;
        board->eval();
        Byte byte = 0;
        if (now >= 8 && receiver.next(now, *board->tx, byte)) outward.pass(byte, terminal.out);
        const bool moving = !sender.idle() || !receiver.idle();
        quiet = moving ? 0 : quiet + 1;
        if (now % LOOK) continue;
        terminal.give();
        terminal.take(inward, sender.bytes);
        const bool rest = quiet > (*board->busy ? STUCK : REST);
        if (rest || now % (64 * LOOK) == 0) {
            if (!terminal.wait(rest && sender.idle() ? 200 : 0)) {
                std::printf("{\"cycles\": %llu, \"faults\": %llu, \"broken\": %llu}\n", static_cast<unsigned long long>(now),
                    static_cast<unsigned long long>(inward.count + outward.count), static_cast<unsigned long long>(receiver.broken));
                return 0;
            }
        }
    }
}
