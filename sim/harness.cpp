// Plays a script on one core of a compiled design: all that happens in a cycle happens here, all that is judged is
// judged by whoever wrote the script.
//
//   harness CORE FOLDER/ SEED [WAVES]
//
// reads FOLDER/script.txt, s_axis.bin and l_axis.bin (beats), writes result.txt, m_axis.bin and tapN.bin (beats).
// README.md lists the operations of a script and the lines of a result.

#include "harness.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iterator>
#include <sstream>

namespace {

[[noreturn]] void die(const std::string& text) {
    std::fprintf(stderr, "harness: %s\n", text.c_str());
    std::exit(2);
}

// splitmix64: small, and good enough for stalls and noise.
class Random {
public:
    explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
    uint64_t bits() {
        uint64_t z = (state += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
    }
    double fraction() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

private:
    uint64_t state;
};

// Stalls of mixed lengths that take `density` of the cycles; the same as in streams.py.
class Gaps {
public:
    explicit Gaps(Random& random) : random(random) {}
    void set(double value) {
        density = value;
        left = 0;
        stalled = false;
    }
    bool next() {
        if (density <= 0) return false;
        while (left == 0) {
            static constexpr int STALLS[] = {1, 1, 1, 2, 3, 7};
            stalled = !stalled;
            double length = STALLS[random.bits() % 6];
            if (!stalled) length *= (1 - density) / density;
            left = static_cast<uint64_t>(length);
            if (random.fraction() < length - static_cast<double>(left)) ++left;
        }
        --left;
        return stalled;
    }
    bool on() const { return density > 0; }

private:
    Random& random;
    double density = 0;
    uint64_t left = 0;
    bool stalled = false;
};

// Drives frames of beats into a core.
class Source {
public:
    Source(const Stream& pins, std::vector<Byte> beats, Random& random)
        : pins(pins), gaps(random), beats(std::move(beats)), random(random) {}
    Stream pins;
    Gaps gaps;

    void send(size_t first, size_t count) {
        if (!pins.bytes || !count || (first + count) * pins.bytes > beats.size()) die("send: no such beats");
        queue.push_back({first, count});
    }
    bool idle() const { return queue.empty(); }
    bool takes() const { return pins.bytes && *pins.valid && *pins.ready; }
    void clear() {
        queue.clear();
        if (pins.bytes) *pins.valid = 0;
    }
    // What stands on the pins in the next cycle; `taken` says whether the beat of the last one has gone.
    void drive(bool taken) {
        if (!pins.bytes) return;
        if (taken) {
            ++queue.front().first;
            if (!--queue.front().count) queue.pop_front();
        }
        const bool stalled = gaps.next();
        if (*pins.valid && !taken) return;  // a beat on offer stays
        *pins.valid = !stalled && !queue.empty();
        if (*pins.valid) {
            std::memcpy(pins.data, &beats[queue.front().first * pins.bytes], pins.bytes);
            *pins.last = queue.front().count == 1;
        } else if (gaps.on()) {  // what is not valid must not be looked at
            const uint64_t noise = random.bits();
            for (size_t i = 0; i < pins.bytes; ++i) pins.data[i] = static_cast<Byte>(noise >> (i % 7 * 8));
            *pins.last = noise >> 63;
        }
    }

private:
    struct Frame {
        size_t first, count;
    };
    std::deque<Frame> queue;
    std::vector<Byte> beats;
    Random& random;
};

class File {
public:
    File(const std::string& path, const char* mode) : file(std::fopen(path.c_str(), mode)) {
        if (!file) die(path + ": can't be opened");
    }
    File(File&& other) noexcept : file(other.file) { other.file = nullptr; }
    ~File() {
        if (file && std::fclose(file)) die("a result can't be written; is the disk full?");
    }
    void write(const Byte* data, size_t bytes) {
        if (std::fwrite(data, 1, bytes, file) != bytes) die("a result can't be written; is the disk full?");
    }
    FILE* file;
};

std::vector<Byte> read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

class Player {
public:
    Player(Design& design, const Core& core, const std::string& folder, uint64_t seed)
        : design(design),
          core(core),
          random(seed),
          source(core.source, read(folder + "s_axis.bin"), random),
          loader(core.loader, read(folder + "l_axis.bin"), random),
          sink_gaps(random),
          held(core.sink.bytes),
          result(folder + "result.txt", "w"),
          words(folder + "m_axis.bin", "wb") {
        for (size_t i = 0; i < core.taps.size(); ++i) tap_files.emplace_back(folder + "tap" + std::to_string(i) + ".bin", "wb");
        tap_beats.resize(core.taps.size());
        tap_start = tap_beats;
    }

    void play(const std::string& path) {
        std::ifstream script(path);
        if (!script) die(path + ": can't be opened");
        const auto start = std::chrono::steady_clock::now();
        std::string line;
        while (!dead && std::getline(script, line)) {
            std::istringstream words(line);
            std::string name;
            words >> name;
            perform(name, words);
            if (words.fail()) die("script: can't read " + line);
            ++op;
        }
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
        std::fprintf(result.file, "%zu end %llu %.6f\n", op, now(), spent.count());
    }

private:
    Design& design;
    const Core& core;
    Random random;
    Source source, loader;
    Gaps sink_gaps;
    std::vector<Byte> held;  // what stood on the stalled output
    bool held_last = false, holding = false;
    File result, words;
    std::vector<File> tap_files;
    std::vector<uint64_t> tap_beats, tap_start;
    size_t op = 0;
    uint64_t cycle = 0, idle = 0, limit = 0;
    uint64_t frame_beats = 0, frames = 0;  // beats of the open result, whole results
    uint64_t beats_seen = 0, beats_taken = 0;
    uint64_t began = 0;
    bool armed = false, dead = false;
    unsigned complaints = 0;

    unsigned long long now() const { return cycle; }

    void perform(const std::string& name, std::istream& in) {
        uint64_t a = 0, b = 0;
        if (name == "reset") {
            source.clear();
            loader.clear();
            holding = false;
            frame_beats = 0;
            *design.reset = 1;
            for (int i = 0; i < 4; ++i) step(false);
            *design.reset = 0;
            for (int i = 0; i < 2; ++i) step();
        } else if (name == "gaps") {
            double s = 0, m = 0, l = 0;
            in >> s >> m >> l;
            source.gaps.set(s);
            sink_gaps.set(m);
            loader.gaps.set(l);
        } else if (name == "limit") {
            in >> limit;
        } else if (name == "send" || name == "load") {
            in >> a >> b;
            (name == "send" ? source : loader).send(a, b);
        } else if (name == "image") {
            in >> a;
            while (a && !loader.idle()) step(), --a;
            if (!loader.idle()) {
                loader.clear();
                std::fprintf(result.file, "%zu stuck %llu\n", op, now());
            }
        } else if (name == "run") {
            in >> a;
            while (a--) step();
        } else if (name == "flag") {
            in >> a;
            if (a >= core.flags.size() || !core.flags[a]) die("flag: no such flag");
            std::fprintf(result.file, "%zu flag %d\n", op, *core.flags[a]);
        } else if (name == "start") {
            armed = true;
        } else if (name == "collect") {
            in >> a >> b;
            collect(a, b);
        } else if (name == "drain") {
            in >> a;
            const uint64_t before = beats_seen;
            while (a--) step();
            std::fprintf(result.file, "%zu extra %d\n", op, beats_seen != before || *core.sink.valid);
        } else if (name == "record") {
            in >> a;
            design.record(a != 0);
            std::fprintf(result.file, "%zu record %llu %llu\n", op, now(), static_cast<unsigned long long>(beats_taken));
        } else if (name == "settle") {
            settle(in);
        } else if (name == "taps") {
            tap_start = tap_beats;
            std::fprintf(result.file, "%zu taps", op);
            for (const uint64_t beats : tap_beats) std::fprintf(result.file, " %llu", static_cast<unsigned long long>(beats));
            std::fprintf(result.file, "\n");
        } else {
            die("script: no operation " + name);
        }
    }

    // Runs until `count` more results have come; one that goes on for `most` beats is the last.
    void collect(uint64_t count, uint64_t most) {
        const uint64_t end = frames + count;
        idle = 0;
        while (frames < end) {
            step();
            if (frame_beats >= most || idle >= limit) {
                const char* what = idle >= limit ? "idle" : "endless";
                std::fprintf(result.file, "%zu %s %llu %llu\n", op, what, now(), static_cast<unsigned long long>(idle));
                dead = true;
                return;
            }
        }
        std::fprintf(result.file, "%zu began %llu\n", op, static_cast<unsigned long long>(began));
    }

    // Runs until every tap has shown as many more beats than at the last `taps`, or until none of them has been one of
    // these for as long as the limit.
    void settle(std::istream& in) {
        std::vector<uint64_t> due(tap_start);
        for (uint64_t& beats : due) {
            uint64_t more = 0;
            in >> more;
            beats += more;
        }
        const auto count = [&] {
            uint64_t missing = 0;
            for (size_t i = 0; i < due.size(); ++i) missing += due[i] - std::min(due[i], tap_beats[i]);
            return missing;
        };
        uint64_t missing = count();
        for (uint64_t still = 0; missing && still < limit; ++still) {
            step();
            if (const uint64_t now = count(); now < missing) missing = now, still = 0;
        }
    }

    void complain(const char* what) {
        if (complaints++ < 20) std::fprintf(result.file, "%zu %s %llu\n", op, what, now());
    }

    // One cycle: the pins settle, the edge takes what is offered, the pins change.
    void step(bool running = true) {
        *design.clock = 0;
        design.eval();
        const bool in = running && source.takes(), load = running && loader.takes();
        if (running) watch();
        const bool out = running && *core.sink.valid && *core.sink.ready;
        if (in && armed) {
            armed = false;
            began = cycle;
        }
        if (out) take();
        beats_taken += in;
        for (size_t i = 0; running && i < core.taps.size(); ++i) {
            if (*core.taps[i].valid) {
                tap_files[i].write(core.taps[i].data, core.taps[i].bytes);
                ++tap_beats[i];
            }
        }
        idle = in || load || out ? 0 : idle + 1;
        *design.clock = 1;
        design.eval();
        ++cycle;
        source.drive(in);
        loader.drive(load);
        *core.sink.ready = running && !sink_gaps.next();
    }

    void take() {
        words.write(core.sink.data, core.sink.bytes);
        ++beats_seen;
        ++frame_beats;
        if (*core.sink.last) {
            std::fprintf(result.file, "%zu frame %llu %llu\n", op, static_cast<unsigned long long>(frame_beats), now());
            frame_beats = 0;
            ++frames;
        }
    }

    // What a stalled output must keep to.
    void watch() {
        const Stream& m = core.sink;
        if (holding) {
            if (!*m.valid) {
                complain("fell");
            } else if (*m.last != held_last || std::memcmp(held.data(), m.data, m.bytes) != 0) {
                complain("changed");
            }
        }
        holding = *m.valid && !*m.ready;
        if (holding) {
            std::memcpy(held.data(), m.data, m.bytes);
            held_last = *m.last;
        }
    }
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) die("usage: harness CORE FOLDER/ SEED [WAVES]");
    const uint64_t seed = std::strtoull(argv[3], nullptr, 10);
    const auto design = make_design(static_cast<uint32_t>(seed), argc > 4 ? argv[4] : "");
    const size_t number = std::strtoull(argv[1], nullptr, 10);
    if (number >= design->cores.size()) die("no such core");
    Player(*design, design->cores[number], argv[2], seed).play(std::string(argv[2]) + "script.txt");
    return 0;
}
