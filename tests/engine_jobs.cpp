// Plays a plan of jobs on an engine and compares what comes of each; see engine_jobs.py.
//
// Every clock's ends are driven after its own rising edges. All numbers of the plan are decimal.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "Vengine.h"
#include "verilated.h"

namespace {

using Word = uint64_t;

constexpr Word CONTROL = 0x40, STATUS = 0x44, ERROR = 0x48, ENABLE = 0x4c, INTERRUPT = 0x50;
constexpr Word START = 1, ABORT = 2, ROWS = 0x84, CYCLES = 0xc0;
constexpr int SLVERR = 2;

std::mt19937_64 rng;
bool chance(unsigned of_256) { return (rng() & 255) < of_256; }

struct Event {
    long cycle;
    int kind;  // 0 abort, 1 reset, 2 writes that are refused
    long arg;
};

struct Job {
    long number;
    std::vector<std::pair<Word, Word>> registers;
    std::vector<Word> packets[3];
    std::vector<std::pair<Word, Word>> expected;  // value, mask
    Word must, may;
    bool some;  // of `may`, one at least
    unsigned source_gap, sink_gap, lite_gap;
    bool eager, hammer, idle_abort;
    long stall_beat, stall_cycles, cycles;
    std::vector<Event> events;
    bool aborted() const {
        for (auto& event : events)
            if (event.kind == 0) return true;
        return false;
    }
};

struct Source {
    std::deque<std::pair<Word, bool>> queue;
    Word sent = 0, taken = 0;
    bool valid = false;
    void drop() {
        queue.clear();
        valid = false;
        taken = sent;
    }
};

Vengine* top;
VerilatedContext context;
long failures = 0, cycles = 0;
Word period[2], next_edge[2];
Source sources[3];
unsigned source_gap, sink_gap, lite_gap;
std::vector<std::pair<Word, bool>> frame;
std::vector<std::vector<std::pair<Word, bool>>> frames;
long stall_beat = -1, stall_cycles = 0;
bool held = false;
std::pair<Word, bool> held_beat;
long job_number = -1;
std::map<Word, Word> shadow;

void fail(const std::string& text) {
    failures++;
    std::printf("FAIL %ld %s\n", job_number, text.c_str());
}

struct Pins {
    bool aw, w, b, ar, r, irq;
    int bresp, rresp;
    uint32_t rdata;
} pins;

template <typename Data, typename Valid, typename Last>
void drive(Source& source, bool ready, Data& data, Valid& valid, Last& last) {
    if (source.valid && ready) {
        source.valid = false;
        source.queue.pop_front();
        source.taken++;
    }
    if (!source.valid && !source.queue.empty() && !chance(source_gap)) source.valid = true;
    valid = source.valid;
    data = source.valid ? source.queue.front().first : rng();
    last = source.valid ? source.queue.front().second : rng() & 1;
}

// One edge of the clocks that rise next; gives whether the main one is among them.
bool edge() {
    const Word now = std::min(next_edge[0], next_edge[1]);
#ifdef TWO_CLOCKS
    const bool main = next_edge[0] == now, side = next_edge[1] == now;
#else
    const bool main = true, side = true;
#endif
    for (int k = 0; k < 2; k++)
        if (next_edge[k] == now) next_edge[k] += period[k];
    const bool a = top->a_axis_tready, c = top->c_axis_tready, t = top->t_axis_tready;
    const bool valid = top->m_axis_tvalid, ready = top->m_axis_tready;
    const std::pair<Word, bool> beat{top->m_axis_tdata, top->m_axis_tlast};
    if (main) {
        pins = Pins{bool(top->s_axil_awready), bool(top->s_axil_wready), bool(top->s_axil_bvalid),
            bool(top->s_axil_arready), bool(top->s_axil_rvalid), bool(top->irq), top->s_axil_bresp,
            top->s_axil_rresp, top->s_axil_rdata};
        top->clk = 1;
    }
#ifdef TWO_CLOCKS
    if (side) top->enc_clk = 1;
#endif
    top->eval();
    if (side) {
        drive(sources[0], a, top->a_axis_tdata, top->a_axis_tvalid, top->a_axis_tlast);
        drive(sources[1], c, top->c_axis_tdata, top->c_axis_tvalid, top->c_axis_tlast);
    }
    if (main) {
        drive(sources[2], t, top->t_axis_tdata, top->t_axis_tvalid, top->t_axis_tlast);
        if (held && (!valid || beat != held_beat)) fail("m_axis does not hold what it offers");
        held = valid && !ready;
        held_beat = beat;
        if (valid && ready) {
            frame.push_back(beat);
            if (beat.second) {
                frames.push_back(frame);
                frame.clear();
            }
        }
        bool willing = !chance(sink_gap);
        if (stall_cycles && long(frame.size()) == stall_beat && frames.empty()) {
            willing = false;
            if (valid) stall_cycles--;
        }
        top->m_axis_tready = willing;
        top->clk = 0;
        cycles++;
    }
#ifdef TWO_CLOCKS
    if (side) top->enc_clk = 0;
#endif
    top->eval();
    return main;
}

void tick() {
    while (!edge()) {
    }
}

// The response to a write, or -1 where none comes.
int write(Word address, Word data) {
    bool aw = false, w = false;
    for (long n = 0; n < 2000; n++) {
        if (!top->s_axil_awvalid && !aw && !chance(lite_gap)) {
            top->s_axil_awvalid = 1;
            top->s_axil_awaddr = address;
        }
        if (!top->s_axil_wvalid && !w && !chance(lite_gap)) {
            top->s_axil_wvalid = 1;
            top->s_axil_wdata = data;
            top->s_axil_wstrb = 15;
        }
        top->s_axil_bready = aw && w && !chance(lite_gap);
        top->eval();
        const bool ready = top->s_axil_bready;
        tick();
        if (ready && pins.b) {
            top->s_axil_bready = 0;
            return pins.bresp;
        }
        if (top->s_axil_awvalid && pins.aw) aw = true, top->s_axil_awvalid = 0;
        if (top->s_axil_wvalid && pins.w) w = true, top->s_axil_wvalid = 0;
    }
    fail("a write has no response");
    return -1;
}

Word read(Word address) {
    bool ar = false;
    for (long n = 0; n < 2000; n++) {
        if (!ar) {
            top->s_axil_arvalid = 1;
            top->s_axil_araddr = address;
        }
        top->s_axil_rready = ar;
        top->eval();
        tick();
        if (ar && pins.r) {
            top->s_axil_rready = 0;
            return pins.rdata;
        }
        if (!ar && pins.ar) ar = true, top->s_axil_arvalid = 0;
    }
    fail("a read has no response");
    return 0;
}

bool insist(Word address, Word data, long limit) {
    for (long end = cycles + limit; cycles < end;)
        if (write(address, data) == 0) return true;
    return false;
}

void forget() {
    for (auto& source : sources) source.drop();
    // A DMA's reset may take an offer back.
    top->a_axis_tvalid = top->c_axis_tvalid = top->t_axis_tvalid = 0;
    top->eval();
}

void reset(long length) {
    top->rst = 1;
    top->s_axil_awvalid = top->s_axil_wvalid = top->s_axil_arvalid = 0;
    top->s_axil_bready = top->s_axil_rready = 0;
    forget();
    held = false;
    for (long n = 0; n < length; n++) {
        tick();
        held = false;
    }
    top->rst = 0;
    top->eval();
    frame.clear();
    frames.clear();
    stall_cycles = 0;
    shadow.clear();
}

void queue(const Job& job) {
    for (int k = 0; k < 3; k++) {
        for (size_t n = 0; n < job.packets[k].size(); n++)
            sources[k].queue.emplace_back(job.packets[k][n], n + 1 == job.packets[k].size());
        sources[k].sent += job.packets[k].size();
    }
}

long limit_of(const Job& job) {
    size_t beats = job.expected.size();
    for (auto& packet : job.packets) beats += packet.size();
    const long slow = 1 + period[1] / period[0];
    return (4000 + 40 * long(beats)) * slow + job.stall_cycles;
}

// Compares a job's packet; `errors` is -1 where they are not known.
void judge(const Job& job, long errors) {
    if (frames.size() != 1 || !frame.empty()) {
        fail(std::to_string(frames.size()) + " packets and " + std::to_string(frame.size()) +
            " beats of another, not one packet");
        return;
    }
    const auto& got = frames[0];
    const size_t length = got.size(), whole = job.expected.size();
    size_t right = 0;
    while (right < length && right < whole &&
        !((got[right].first ^ job.expected[right].first) & job.expected[right].second))
        right++;
    const bool complete = length == whole && right == whole;
    if (errors >= 0) {
        const Word found = errors;
        if ((found & job.must) != job.must || (found & ~(job.must | job.may)) ||
            (job.some && !found))
            fail("ERROR is " + std::to_string(found) + ", not " + std::to_string(job.must) +
                " with any of " + std::to_string(job.may));
        else if (!found && !complete)
            fail("beat " + std::to_string(right) + " of " + std::to_string(length) +
                " is wrong, of " + std::to_string(whole));
    } else if (!job.must && !job.may && !complete) {
        fail("beat " + std::to_string(right) + " of " + std::to_string(length) + " is wrong, of " +
            std::to_string(whole));
    }
    if (!complete && (length > whole || right + 1 < length))
        fail("a job that ended early has other results than a right one: beat " +
            std::to_string(right) + " of " + std::to_string(length) + ", of " +
            std::to_string(whole));
}

void recover() {
    reset(20);
    for (int n = 0; n < 40; n++) tick();
}

bool read_job(std::FILE* plan, Job& job) {
    auto number = [&]() {
        long long value = 0;
        if (std::fscanf(plan, "%lld", &value) != 1) std::exit(3);
        return value;
    };
    auto word = [&]() {
        unsigned long long value = 0;
        if (std::fscanf(plan, "%llu", &value) != 1) std::exit(3);
        return Word(value);
    };
    long long first = 0;
    if (std::fscanf(plan, "%lld", &first) != 1) return false;
    job.number = first;
    for (long n = number(); n; n--) {
        const Word address = word();
        job.registers.emplace_back(address, word());
    }
    for (auto& packet : job.packets)
        for (long n = number(); n; n--) packet.push_back(word());
    for (long n = number(); n; n--) {
        const Word value = word();
        job.expected.emplace_back(value, word());
    }
    job.must = word();
    job.may = word();
    job.some = number();
    job.source_gap = number();
    job.sink_gap = number();
    job.lite_gap = number();
    job.eager = number();
    job.hammer = number();
    job.idle_abort = number();
    job.stall_beat = number();
    job.stall_cycles = number();
    job.cycles = number();
    for (long n = number(); n; n--) {
        const long cycle = number();
        const int kind = number();
        job.events.push_back(Event{cycle, kind, long(number())});
    }
    return true;
}

void play(const std::vector<Job>& jobs) {
    bool queued = false;        // this job's packets were queued with the last one
    bool pending = false;       // the last job has not been judged
    bool dirty = false;         // its senders may still send
    for (size_t at = 0; at < jobs.size(); at++) {
        const Job& job = jobs[at];
        const Job* before = pending ? &jobs[at - 1] : nullptr;
        const Job* after = at + 1 < jobs.size() ? &jobs[at + 1] : nullptr;
        job_number = job.number;
        source_gap = job.source_gap;
        sink_gap = job.sink_gap;
        lite_gap = job.lite_gap;
        const long limit = limit_of(job) + (before ? limit_of(*before) : 0);
        bool well = true;
        if (job.idle_abort && !pending && write(CONTROL, ABORT) != 0)
            fail("an abort while idle was refused");
        // Without registers, it starts as soon as can be after a reset, which has set them.
        const bool bare = job.registers.empty();
        if (!bare && !shadow.count(ENABLE)) {
            well = insist(ENABLE, 1, limit);
            shadow[ENABLE] = 1;
        }
        for (auto& [address, value] : job.registers) {
            if (shadow.count(address) && shadow[address] == value && !chance(32)) continue;
            well = well && insist(address, value, limit);
            shadow[address] = value;
        }
        const bool late = dirty || (!job.cycles && chance(64));
        const bool slow = late;  // its packets came after its start
        if (!queued && !late) queue(job);
        well = well && insist(CONTROL, START, limit);
        const long started = cycles;
        if (before) {
            job_number = before->number;
            if (well) judge(*before, -1);
            job_number = job.number;
        }
        frames.clear();
        if (!queued && late) queue(job);
        // The interrupt may have been of the job before, or not be enabled.
        const bool polls = before || bare;
        if (before) write(INTERRUPT, 1);
        Word marks[3];
        for (int k = 0; k < 3; k++) marks[k] = sources[k].sent;
        stall_beat = job.stall_beat;
        stall_cycles = job.stall_cycles;
        queued = pending = dirty = false;
        if (!well) {
            fail("the engine does not take the job");
            recover();
            continue;
        }
        if (after && after->eager && !job.aborted()) {
            queue(*after);
            queued = true;
        }
        bool is_reset = false;
        for (auto& event : job.events) {
            while (cycles < started + event.cycle && !is_reset) tick();
            if (event.kind == 0) {
                if (event.arg) forget();
                if (write(CONTROL, ABORT) != 0) fail("an abort was refused");
                dirty = true;
            } else if (event.kind == 1) {
                reset(event.arg);
                is_reset = true;
            } else if (write(ROWS, 1) != SLVERR || write(CONTROL, START | ABORT) != SLVERR) {
                fail("a write was taken while busy");
            }
        }
        if (is_reset) {
            queued = false;
            continue;
        }
        if (after && after->hammer) {
            if (dirty) forget();  // but nothing may be sent before the engine is idle
            pending = true;
            continue;
        }
        bool ended = false;
        for (long n = 0; n < limit && !ended; n++) {
            tick();
            ended = pins.irq || (polls && n % 256 == 255 && !(read(STATUS) & 1));
        }
        if (!ended) {
            fail("the job does not end");
            recover();
            queued = dirty = false;
            continue;
        }
        if (top->m_axis_tvalid) fail("a beat is on offer after the end");
        const Word status = read(STATUS), errors = read(ERROR);
        if ((status & 3) != 2 || bool(status & 4) != bool(errors))
            fail("STATUS is " + std::to_string(status));
        for (int k = 0; k < 3 && !dirty; k++)
            if (sources[k].taken != marks[k])
                fail("of packet " + std::to_string(k) + " it took " +
                    std::to_string(long(sources[k].taken - marks[k])) + " beats too many");
        const long took = job.cycles && !slow ? long(read(CYCLES)) : job.cycles;
        if (took != job.cycles)
            fail("it took " + std::to_string(took) + " cycles, not " + std::to_string(job.cycles));
        write(INTERRUPT, 1);
        if (dirty) forget();
        dirty = false;
        if (chance(64))
            for (int n = 0; n < 60; n++) tick();
        judge(job, long(errors));
        frames.clear();
        frame.clear();
    }
    std::printf("DONE %zu %ld\n", jobs.size(), cycles);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 3;
    std::FILE* plan = std::fopen(argv[1], "r");
    if (!plan) return 3;
    unsigned long long seed, main_period, side_period;
    if (std::fscanf(plan, "%llu %llu %llu", &seed, &main_period, &side_period) != 3) return 3;
    std::vector<Job> jobs;
    for (Job job; read_job(plan, job); job = Job{}) jobs.push_back(job);
    rng.seed(seed);
    context.randReset(2);
    context.randSeed(int(seed & 0x7fffffff) | 1);
    top = new Vengine{&context};
    period[0] = main_period;
    period[1] = side_period;
    next_edge[0] = main_period;
    next_edge[1] = side_period + seed % side_period;
    reset(8);
    play(jobs);
    top->final();
    return failures ? 1 : 0;
}
