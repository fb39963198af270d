// Units that keep a part of their old state, whatever the cell computed. One formula serves three papers:
//
//   forward   h_t = k * h_{t-1} + (1 - k) * h'_t,   h'_t the cell's new state (c likewise where it is kept too)
//   backward  dh' = (1 - k) * dh_t                  dh_{t-1} += k * dh_t
//
// Zoneout (Krueger et al. 2017, equations 2 and 5): k = 1 with probability z, else 0, drawn for each unit and step; in
//   inference k = z, its expectation. The LSTM zones c and h apart, and h'_t = o * h(c'_t) sees c before its zoneout.
// Leaky units (Jaeger, Lukosevicius, Popovici & Siewert 2007, equation 1): k = 1 - leak.
//
// Included as the cells are (elman.h). With k = 0 or 1 the other state's value is lost exactly.
template <class V>
V carried(const V& k, const V& old_state, const V& new_state) {
  return k * old_state + (V(1) - k) * new_state;
}
// d: of the state in, of the new state out; returns what goes to the old state.
template <class V>
V carried_back(const V& k, V& d) {
  const V past = k * d;
  d = (V(1) - k) * d;
  return past;
}
