// What the simulated board knows of a design: the pins of lutgen.gateware.link.top.BoardCore.
#pragma once

#include <cstdint>
#include <memory>

using Byte = unsigned char;

struct Board {
    Byte* clock = nullptr;
    Byte* reset = nullptr;
    Byte* rx = nullptr;
    const Byte* tx = nullptr;
    const Byte* busy = nullptr;

    virtual ~Board() = default;
    virtual void eval() = 0;  // after any pin has changed
};

// A model whose every bit without a reset value is random.
std::unique_ptr<Board> make_board(uint32_t seed);
