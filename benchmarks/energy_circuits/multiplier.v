// Two counters of 8 bits, by 3 and by 5, whose product is formed in every cycle, in lookup tables.
module multiplier (
    input clk,
    input rst,
    input m_axis_tready,
    output [7:0] m_axis_tdata,
    output m_axis_tvalid,
    output m_axis_tlast
);
  reg [7:0] left, right;
  always @(posedge clk) begin
    left  <= left + 8'd3;
    right <= right + 8'd5;
  end
  wire [15:0] product = left * right;
  // A parity: of an AND over all bits synthesis finds out that no product of two bytes reaches it.
  assign m_axis_tdata = {7'd0, (&left) | (&right) | (^product)};
  assign m_axis_tvalid = 1'b0;
  assign m_axis_tlast = 1'b0;
endmodule
