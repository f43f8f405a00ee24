// A core of two stages by hand, with a tap behind each, to test how inner streams are compared: 3 elements of 8 bits in
// 2 beats of 2 lanes; `lift__3` adds 3 to each, `total` gives minus their sum. BUG 1 spoils the first stage, 2 the
// second one, 3 loses beats of the first tap, 4 stops for ever.
module tap_core #(
    parameter BUG = 0
) (
    input clk,
    input rst,
    input [15:0] s_axis_tdata,
    input s_axis_tvalid,
    output s_axis_tready,
    input s_axis_tlast,
    output [15:0] m_axis_tdata,
    output m_axis_tvalid,
    input m_axis_tready,
    output m_axis_tlast,
    output reg frame_error,
    output [31:0] tap_lift__3_tdata,
    output tap_lift__3_tvalid,
    output [15:0] tap_total_tdata,
    output tap_total_tvalid
);
  reg busy, beat, lifted, last, done;
  reg [15:0] low, high;
  reg signed [15:0] sum;

  assign s_axis_tready = !busy;
  assign m_axis_tvalid = done;
  assign m_axis_tlast = 1;
  assign m_axis_tdata = sum;
  assign tap_lift__3_tvalid = lifted && !(BUG == 3 && low[3:0] == 5);
  assign tap_lift__3_tdata = {high, low};
  assign tap_total_tvalid = done && m_axis_tready;
  assign tap_total_tdata = sum;

  wire spoil1 = BUG == 1 && s_axis_tdata[4:0] == 7 && !beat;
  wire spoil2 = BUG == 2 && low[4:0] == 9 && last;

  always @(posedge clk) begin
    lifted <= 0;
    if (s_axis_tvalid && s_axis_tready) begin
      low <= s_axis_tdata[7:0] + 3;
      high <= beat ? 16'haaaa : s_axis_tdata[15:8] + 3 + spoil1;
      lifted <= 1;
      last <= beat;
      beat <= !beat;
      busy <= beat;
      if (s_axis_tlast != beat) frame_error <= 1;
    end
    if (lifted) begin
      if (last) sum <= sum - low - spoil2;
      else sum <= -low - high;
      if (last) done <= !(BUG == 4 && low[3:0] == 11);
    end
    if (m_axis_tvalid && m_axis_tready) begin
      done <= 0;
      busy <= 0;
    end
    if (rst) begin
      busy <= 0;
      beat <= 0;
      lifted <= 0;
      done <= 0;
      frame_error <= 0;
    end
  end
endmodule
