// Asks the bus three things at once, and shows the answers as they come.
#property strict

#include <Mt4Gateway/Calls.mqh>

input string PipeName = "mt4";

bool has_asked = false;

int OnInit()
  {
   GatewayOpen(PipeName, "Caller");
   return(EventSetMillisecondTimer(10) ? INIT_SUCCEEDED : INIT_FAILED);
  }

void OnDeinit(const int reason)
  {
   GatewayClose();
  }

void OnTimer()
  {
   GatewayPoll();
   if(has_asked || !gateway_caller.IsOpen())
      return;
   has_asked = true;
   int first = GatewayCallLater("double", "1.25", 10000);
   int second = GatewayCallLater("nobody", GatewayText("a \"text\""), 10000);
   int third = GatewayCallLater("double", "[1]", 10000);
   Print("asked " + IntegerToString(first) + IntegerToString(second) + IntegerToString(third));
   if(GatewayCallLater("double", "not json", 10000) != 0 || GatewayProblem() != "bad_call")
      Print("mistake: what is no JSON was asked");
  }

void OnChartEvent(const int id, const long &lparam, const double &dparam, const string &sparam)
  {
   if(id != CHARTEVENT_CUSTOM + GATEWAY_ANSWERED)
      return;
   string answer = GatewayAnswer((int)lparam);
   Print(IntegerToString(lparam) + ": " + answer + (answer == "" ? " " + GatewayProblem() : ""));
  }
