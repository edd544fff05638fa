// What a published map is written with, and where it goes: msgpack on a socket, JSON in a pipe.
#ifndef MT4GATEWAY_MAPS_MQH
#define MT4GATEWAY_MAPS_MQH

// Bases without a deed: the compiler of 2015 knows no pure virtual functions.

// A map is begun with its number of members; then come name and value of each, in turn.
class MapWriter
  {
public:
   virtual void      Clear() {}
   virtual void      Map(int members) {}
   virtual void      Null() {}
   virtual void      Boolean(bool value) {}
   virtual void      Integer(long value) {}
   virtual void      Real(double value) {}
   virtual void      Text(string value) {}
   void              AddText(string name, string value) { Text(name); Text(value); }
   void              AddInteger(string name, long value) { Text(name); Integer(value); }
   void              AddReal(string name, double value) { Text(name); Real(value); }
   void              AddBoolean(string name, bool value) { Text(name); Boolean(value); }
  };

// Takes what was written last, under a topic.
class Outlet
  {
public:
   virtual bool      IsOpen() const { return(false); }
   virtual void      Publish(string topic) {}
  };

#endif
