// An example: ask the bus at each tick what the price is, doubled, and show it on the chart.
//
// Who answers is any service on NATS that listens on `mt4.<terminal>.call.double`, such as
// examples/doubled_price.py. Attach it to a chart of its own, beside GatewayPipe.
#property copyright "the mt4-gateway authors"
#property version   "1.00"
#property description "Shows the doubled price, which a service on the bus has worked out."
#property strict

#include <Mt4Gateway/Calls.mqh>

input string PipeName = "mt4";     // The gateway's terminal.pipe_name
input int    TimeoutMs = 500;      // Longest wait for an answer

int OnInit()
  {
   GatewayOpen(PipeName, "DoubledPrice");
   return(EventSetMillisecondTimer(250) ? INIT_SUCCEEDED : INIT_FAILED);
  }

void OnDeinit(const int reason) { GatewayClose(); }

// Keeps the pipe alive while no tick comes.
void OnTimer() { GatewayPoll(); }

void OnTick()
  {
   double price = MarketInfo(Symbol(), MODE_BID);
   string doubled = GatewayCall("double", DoubleToString(price, 5), TimeoutMs);
   Comment(doubled != "" ? "twice " + DoubleToString(price, 5) + " is " + doubled : "no answer: " + GatewayProblem());
  }
