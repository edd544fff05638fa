// The market data: a publishing socket for ticks, heartbeats, order and account events.
//
// An expert of its own, on a chart of its own, because each expert has its own thread: a slow
// OrderSend in GatewayCommands never holds back a tick. Ticks of the chart's symbol are events;
// those of the other symbols in the Market Watch are sampled by the timer, and say so.
#property copyright "the mt4-gateway authors"
#property version   "1.00"
#property description "Publishes ticks, heartbeats and order events for mt4-gateway over ZeroMQ. Never trades."
#property strict

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Feed.mqh>
#include <Mt4Gateway/Log.mqh>
#include <Mt4Gateway/MsgPack.mqh>
#include <Mt4Gateway/Zmq.mqh>

input string Endpoint = "tcp://127.0.0.1:28283";  // Where ticks are published; tcp://*:28283 for other computers
input bool   ConnectsOut = false;                 // Connect to Endpoint (a gateway that binds) instead of binding
input int    TimerMs = 20;                        // How often the other symbols are looked at
input int    HighWaterMark = 100000;              // Messages kept for a slow reader; at least 10000
input string CurveSecretKey = "";                 // Our secret key, 40 characters; empty: no encryption
input string CurvePublicKey = "";                 // Our public key; with ConnectsOut only
input string CurveServerKey = "";                 // The gateway's public key; with ConnectsOut only

#define BIND_RETRY_MS 1000

// Two frames: topic and msgpack map. What a subscriber's queue does not take is lost for it; ticks
// show the gap.
class TickSocket : public Outlet
  {
private:
   long              dropped_count;

public:
   ZmqSocket         socket;
   MsgPackWriter     packed;

                     TickSocket() { dropped_count = 0; }
   virtual bool      IsOpen() const { return(socket.IsOpen()); }
   virtual void      Publish(string topic);
  };

void TickSocket::Publish(string topic)
  {
   uchar name[];
   int count = StringToCharArray(topic, name, 0, WHOLE_ARRAY, CP_UTF8) - 1;
   if(socket.Send(name, count, ZMQ_SNDMORE) && socket.Send(packed.bytes, packed.length, 0))
      return;
   dropped_count++;
   if(dropped_count % 1000 == 1)
      LogWarning("publish_failed errno=" + IntegerToString(zmq_errno()) + " dropped=" + IntegerToString(dropped_count));
  }

TickSocket tick_socket;
Feed       feed;
long       bind_tried_ms = 0;

int OnInit()
  {
   if(HighWaterMark < 10000 || TimerMs < 1 || !AreCurveKeysGood(CurveSecretKey, CurvePublicKey, CurveServerKey, ConnectsOut))
     {
      LogError("bad_inputs reason=\"HighWaterMark is below 10000, TimerMs below 1, or the Curve keys have not 40 characters each (with ConnectsOut all three, else CurveSecretKey alone)\"");
      return(INIT_PARAMETERS_INCORRECT);
     }
   feed.Start(Symbol());
   BindPublisher();
   if(!EventSetMillisecondTimer(TimerMs))
      return(INIT_FAILED);
   return(INIT_SUCCEEDED);
  }

void OnDeinit(const int reason)
  {
   EventKillTimer();
   tick_socket.socket.Close();
   if(GlobalVariableCheck("Mt4Gateway.tick_port") && !GlobalVariableDel("Mt4Gateway.tick_port"))
      LogWarning("tick_port_not_forgotten code=" + IntegerToString(GetLastError()));
   LogInfo("stopped reason=" + IntegerToString(reason));
  }

void BindPublisher()
  {
   bind_tried_ms = ClockMs();
   bool is_bound = tick_socket.socket.Open(ZMQ_XPUB) && tick_socket.socket.Set(ZMQ_SNDHWM, HighWaterMark) && tick_socket.socket.Set(ZMQ_XPUB_VERBOSE, 1);
   if(is_bound && CurveSecretKey != "")
      is_bound = tick_socket.socket.SetCurve(CurveSecretKey, CurvePublicKey, CurveServerKey, ConnectsOut);
   is_bound = is_bound && tick_socket.socket.Attach(Endpoint, ConnectsOut);
   if(!is_bound)
     {
      LogWarning("bind_failed endpoint=" + Endpoint + " errno=" + IntegerToString(zmq_errno()));
      tick_socket.socket.Close();
      return;
     }
   LogInfo("publishing endpoint=" + Endpoint);
   if(!ConnectsOut && GlobalVariableSet("Mt4Gateway.tick_port", PortOf(Endpoint)) == 0)
      LogWarning("tick_port_not_told code=" + IntegerToString(GetLastError()));
  }

// What stands behind the last colon.
double PortOf(string endpoint)
  {
   int colon = StringFind(endpoint, ":", 6);
   return((double)StringToInteger(StringSubstr(endpoint, colon + 1)));
  }

void OnTick()
  {
   feed.OnTick(tick_socket.packed, tick_socket);
  }

void OnTimer()
  {
   feed.OnTimer(tick_socket.packed, tick_socket);
   if(tick_socket.IsOpen())
      GreetSubscribers();
   else if(ClockMs() - bind_tried_ms >= BIND_RETRY_MS)
      BindPublisher();
  }

// A new subscriber gets the present state at once. libzmq hands its wish in as a frame: 1 and the
// beginning of the topics it wants.
void GreetSubscribers()
  {
   uchar frame[];
   ArrayResize(frame, 256);
   for(int i = 0; i < 64; i++)
     {
      int length = tick_socket.socket.Receive(frame, 256);
      if(length < 0)
         return;
      if(length == 0 || frame[0] != 1 || length > 256)
         continue;
      string topic = length > 1 ? CharArrayToString(frame, 1, length - 1, CP_UTF8) : "";
      LogInfo("subscribed topic=\"" + topic + "\"");
      feed.PublishSnapshot(topic, tick_socket.packed, tick_socket);
     }
  }
