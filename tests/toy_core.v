// A core by hand that keeps to docs/core-contract.md, to test the bench itself: 5 elements of 8 bits in 3 beats of
// 2 lanes; 3 results of 16 bits in 2 beats of 2 lanes; y[j] = (j + 1) * sum(x) - OFFSET. BUG breaks one rule each.
module toy_core #(
    parameter BUG = 0,
    parameter LOADABLE = 0
) (
    input wire clk,
    input wire rst,
    input wire [15:0] s_axis_tdata,
    input wire s_axis_tvalid,
    output wire s_axis_tready,
    input wire s_axis_tlast,
    output wire [31:0] m_axis_tdata,
    output wire m_axis_tvalid,
    input wire m_axis_tready,
    output wire m_axis_tlast,
    output reg frame_error,
    input wire [31:0] l_axis_tdata,
    input wire l_axis_tvalid,
    output wire l_axis_tready,
    input wire l_axis_tlast,
    output reg loaded,
    output reg load_error
);
  // Where the beats of a sample stand.
  localparam RECEIVE = 0, SKIP = 1, SEND0 = 2, SEND1 = 3;
  reg [1:0] state;
  reg [1:0] beat;
  reg signed [15:0] sum;
  reg signed [15:0] offset;
  reg [1:0] word;
  reg bad;
  reg blink;

  assign s_axis_tready = (state == RECEIVE || state == SKIP) && (!LOADABLE || loaded);
  assign l_axis_tready = LOADABLE && state == RECEIVE && beat == 0;
  assign m_axis_tvalid =
      (state == SEND0 || state == SEND1) && !(BUG == 2 && blink) && !(BUG == 8 && sum[0]);
  assign m_axis_tlast = BUG == 5 ? state == SEND0 : state == SEND1;

  wire signed [15:0] shown = sum + ((BUG == 1 && sum[2:0] == 3) || (BUG == 3 && blink));
  wire signed [15:0] y0 = shown - offset;
  wire signed [15:0] y1 = 2 * shown - offset;
  wire signed [15:0] y2 = 3 * shown - offset;
  assign m_axis_tdata = state == SEND0 ? {y1, y0} : {16'h5a5a, y2};

  wire [15:0] addend = beat == 2 ? {8'b0, s_axis_tdata[7:0]}
                                 : {8'b0, s_axis_tdata[7:0]} + {8'b0, s_axis_tdata[15:8]};

  always @(posedge clk) begin
    blink <= m_axis_tvalid && !m_axis_tready;
    if (s_axis_tvalid && s_axis_tready) begin
      if (state == SKIP) begin
        if (s_axis_tlast) state <= RECEIVE;
      end else begin
        sum <= (beat == 0 ? 16'd0 : sum) + addend;
        beat <= beat + 1;
        if (s_axis_tlast || beat == 2) begin
          beat <= 0;
          if (!(s_axis_tlast && beat == 2) && !(BUG == 7 && !s_axis_tlast)) frame_error <= 1;
          if (!s_axis_tlast) state <= SKIP;
          else if (beat == 2 || BUG == 6) state <= SEND0;
        end
      end
    end
    if (m_axis_tvalid && m_axis_tready) state <= state == SEND0 ? SEND1 : RECEIVE;
    if (l_axis_tvalid && l_axis_tready) begin
      loaded <= 0;
      if (word == 0) offset <= l_axis_tdata[15:0];
      if (word != 3) word <= word + 1;
      if (l_axis_tlast) begin
        word <= 0;
        if (word == 1) loaded <= 1;
        else load_error <= 1;
      end
    end
    if (BUG == 4 && state == SEND1) frame_error <= 1;
    if (rst) begin
      state <= RECEIVE;
      beat <= 0;
      word <= 0;
      frame_error <= 0;
      loaded <= 0;
      load_error <= 0;
      offset <= 100;
    end
  end
endmodule
