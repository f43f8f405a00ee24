// What the harness knows of a design; the generated half (core.cpp.j2) fills it in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

using Byte = unsigned char;

// One AXI4-Stream. The pins are the model's own storage, lowest byte first (so is every host that Verilator runs on).
struct Stream {
    Byte* data = nullptr;
    Byte* valid = nullptr;
    Byte* ready = nullptr;
    Byte* last = nullptr;
    size_t bytes = 0;  // of a beat; 0 where a core has no such stream
};

// A stream inside the core that one can only look at: a beat passes whenever `valid` is high.
struct Tap {
    const Byte* data;
    const Byte* valid;
    size_t bytes;
};

struct Core {
    Stream source, sink, loader;
    std::vector<const Byte*> flags;  // those of lutgen.flows.harness.FLAGS; null where absent
    std::vector<Tap> taps;
};

struct Design {
    Byte* clock = nullptr;
    Byte* reset = nullptr;
    std::vector<Core> cores;  // with clock and reset in common

    virtual ~Design() = default;
    virtual void eval() = 0;  // after any pin has changed; one call is half a clock cycle of a wave file
    virtual void record(bool on) = 0;  // begins the wave file anew, or ends it
};

// A model whose every bit without a reset value is random. `waves` is the path of a wave file, or empty.
std::unique_ptr<Design> make_design(uint32_t seed, const std::string& waves);
